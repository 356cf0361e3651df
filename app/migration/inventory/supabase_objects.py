"""What Supabase makes and manages by itself, as its projects have it: schemas, roles, settings.

An object in one of its schemas is its own where one of its roles owns it. What another role made there is the user's.
"""

import re

# By schema: why it need not be moved.
SCHEMAS = {
    "_analytics": "logs of Supabase's own services",
    "_realtime": "settings of Supabase's realtime server",
    "_supavisor": "settings of Supabase's pooler",
    "auth": "made by Supabase's auth server; its users and identities are listed on their own",
    "cron": "made by the extension pg_cron; its jobs are listed on their own",
    "extensions": "where Supabase puts extensions, which are listed on their own",
    "graphql": "made by the extension pg_graphql",
    "graphql_public": "made by the extension pg_graphql",
    "net": "made by the extension pg_net; what calls it is listed on its own",
    "pgbouncer": "how Supabase's pooler signs users in",
    "pgsodium": "made by the extension pgsodium",
    "pgsodium_masks": "made by the extension pgsodium",
    "realtime": "made by Supabase's realtime server; policies on its tables are listed on their own",
    "storage": "made by Supabase's storage server; its buckets are listed on their own",
    "supabase_functions": "made by Supabase for webhooks, which are listed on their own",
    "supabase_migrations": "which migrations Supabase's command line has carried out",
    "vault": "made by the extension supabase_vault; its secrets are listed on their own",
}
# Supabase's own though the role `postgres`, which is the user's too, owns what is in them.
_WHOLE = {"graphql_public", "pgbouncer", "supabase_functions", "supabase_migrations"}
_OWNER = re.compile(r"supabase_\w+|pgsodium_\w+|pgbouncer|pgtle_admin|dashboard_user")
_ROLE = re.compile(r"anon|authenticated|authenticator|service_role|postgres|cli_login_\w+|" + _OWNER.pattern)
_ROLES = r"(?:anon|authenticated|service_role|postgres)"

# Items that need not be moved: kind, what their name and detail look like, and why.
_NOT_NEEDED = (
    ("extension", r"(pg_graphql|supabase_vault|pgsodium|pgtle|pg_tle) .*", "it serves Supabase's own services"),
    ("extension", r"plpgsql .*", "each PostgreSQL has it"),
    ("extension", r"pg_stat_statements .*", "it watches the server, and holds nothing of the application"),
    ("publication", r"supabase_realtime(_messages_publication)? .* of no table", "it publishes nothing of the user's"),
    ("publication", r"supabase_realtime_messages_publication .*", "Supabase's realtime server made it for itself"),
    ("default privileges", rf".* to {_ROLES}(, {_ROLES})*", "Supabase's own roles, by which its API signs in"),
    (
        "setting",
        r"role (anon|authenticated|authenticator): (statement_timeout|lock_timeout|session_preload_libraries) .*",
        "a limit of Supabase's API",
    ),
    ("setting", r"database: app\.settings\.jwt_(secret|exp) .*", "a setting of Supabase's auth server"),
)
# Tables of Supabase's schemas that are read for their rows, or hold nothing to be moved.
KNOWN_TABLES = {
    "auth": {
        "audit_log_entries", "flow_state", "identities", "instances", "mfa_amr_claims", "mfa_challenges",
        "mfa_factors", "oauth_authorizations", "oauth_client_states", "oauth_clients", "oauth_consents",
        "one_time_tokens", "refresh_tokens", "saml_providers", "saml_relay_states", "schema_migrations", "sessions",
        "sso_domains", "sso_providers", "users", "webauthn_challenges", "webauthn_credentials",
    },
    "storage": {
        "buckets", "buckets_analytics", "buckets_vectors", "iceberg_namespaces", "iceberg_tables", "migrations",
        "objects", "prefixes", "s3_multipart_uploads", "s3_multipart_uploads_parts", "vector_indexes",
    },
}  # fmt: skip


def is_supabase_owned(schema: str | None, owner: str | None) -> bool:
    """Whether an object of a schema is Supabase's own.

    Args:
        owner: the role that owns the object; None: it hangs on another object, and is the user's.
    """
    return schema in SCHEMAS and owner is not None and (schema in _WHOLE or _OWNER.fullmatch(owner) is not None)


def is_supabase_role(role: str) -> bool:
    """Whether a role is one that Supabase makes in each project."""
    return _ROLE.fullmatch(role) is not None


def acts_for_supabase(role: str | None) -> bool:
    """Whether a role is one that only Supabase's own services sign in as."""
    return role is not None and _OWNER.fullmatch(role) is not None


def why_not_needed(kind: str, name: str, detail: str) -> str | None:
    """Why an item need not be moved; None where it may be needed."""
    text = f"{name} {detail}"
    return next((why for of, looks, why in _NOT_NEEDED if of == kind and re.fullmatch(looks, text)), None)
