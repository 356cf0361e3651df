"""Questions on what Supabase's services keep in the database, and items that are in no database at all."""

from app.migration.inventory.fates import Fate, Item, hash_of
from app.migration.inventory.questions.question import Question
from app.next_step import NextStep

_OF_AUTH = ("mfa_factors", "sso_providers", "sso_domains", "saml_providers", "oauth_clients", "webauthn_credentials")
_OF_STORAGE = ("buckets_analytics", "buckets_vectors", "vector_indexes", "iceberg_namespaces", "iceberg_tables")


def _rows_of(table: str) -> Question:
    schema, _, name = table.partition(".")
    return Question(
        f"{schema} rows",
        """
SELECT 0 AS oid, NULL AS schema, NULL AS owner, 'TABLE' AS name, count(*)::text AS definition,
    count(*) || ' rows' AS detail
FROM SCHEMA.TABLE HAVING count(*) > 0
""".replace("SCHEMA", schema).replace("TABLE", name),
        "carry them to a server of your own, or set up anew what they are for (docs/inventory.md)",
        catalog=None,
        reads=(table,),
        compared=False,
    )


SERVICES = (
    Question(
        "auth users",
        """
SELECT 0 AS oid, NULL AS schema, NULL AS owner, '(all)' AS name, count(*)::text AS definition,
    count(*) || ' users' AS detail
FROM auth.users HAVING count(*) > 0
""",
        "carry them to an auth server of your own: pg_dump --data-only --table=auth.users --table=auth.identities "
        "(docs/inventory.md)",
        catalog=None,
        reads=("auth.users",),
        compared=False,
        moved_as="auth.users",
    ),
    Question(
        "auth identities",
        """
SELECT 0 AS oid, NULL AS schema, NULL AS owner, provider AS name, count(*)::text AS definition,
    count(*) || ' identities' AS detail
FROM auth.identities GROUP BY provider
""",
        "set the provider {name} up at the new auth server; its rows travel with the users",
        catalog=None,
        reads=("auth.identities",),
        compared=False,
        moved_as="auth.identities",
    ),
    *(_rows_of(f"auth.{name}") for name in _OF_AUTH),
    Question(
        "bucket",
        """
SELECT 0 AS oid, NULL AS schema, NULL AS owner, b.id AS name,
    concat_ws(' ', b.public, count(o.id), sum(o.bytes)) AS definition,
    count(o.id) || ' objects, ' || coalesce(sum(o.bytes), 0) || ' bytes'
        || CASE WHEN count(o.id) > count(o.bytes) THEN ' and those of ' || count(o.id) - count(o.bytes) ||
        ' objects of unknown size' ELSE '' END || CASE WHEN b.public THEN ', public' ELSE '' END AS detail
FROM storage.buckets b LEFT JOIN (
    SELECT id, bucket_id,
        CASE WHEN metadata ->> 'size' ~ '^[0-9]{1,18}$' THEN (metadata ->> 'size')::bigint END AS bytes
    FROM storage.objects
) o ON o.bucket_id = b.id GROUP BY b.id, b.public
""",
        "rclone copy --checksum supabase:{name} target:{name} (docs/inventory.md says how to name the two ends)",
        catalog=None,
        reads=("storage.buckets", "storage.objects"),
        compared=False,
    ),
    *(_rows_of(f"storage.{name}") for name in _OF_STORAGE),
    Question(
        "cron job",
        """
SELECT 0 AS oid, NULL AS schema, NULL AS owner, coalesce(jobname, jobid::text) AS name,
    concat_ws(' ', schedule, active, command) AS definition,
    schedule || CASE WHEN active THEN '' ELSE ', not active' END
        || CASE WHEN command ~* '\\mnet\\.http_' THEN ', calls ' || coalesce((
            SELECT string_agg(DISTINCT m[1], ', ')
            FROM regexp_matches(command, 'https?://(?:[^/@\\s'']*@)?([A-Za-z0-9.-]+)', 'g') m), 'a host') ELSE '' END
        AS detail
FROM cron.job
""",
        "SELECT cron.schedule(...) where the target's server has pg_cron, else a timer of the system",
        catalog=None,
        reads=("cron.job",),
    ),
    Question(
        "vault secret",
        """
SELECT 0 AS oid, NULL AS schema, NULL AS owner, coalesce(name, id::text) AS name,
    concat_ws(' ', id, updated_at) AS definition, 'its value is not read' AS detail
FROM vault.secrets
""",
        "put its value where the application looks for secrets; vault.decrypted_secrets shows it to those who may "
        "read it",
        catalog=None,
        reads=("vault.secrets",),
        compared=False,
    ),
)

_OUTSIDE = (
    ("edge functions", "their code and schedules", "supabase functions list, and supabase functions download NAME"),
    ("edge function secrets", "what the functions read from their environment", "supabase secrets list names them"),
    (
        "provider settings",
        "sign-in providers with their keys, redirect addresses, e-mail templates, SMTP, hooks, limits",
        "write them down from the dashboard, Authentication, and give them to the new auth server",
    ),
    (
        "API settings",
        "exposed schemas, row cap, keys and the JWT secret, custom domain, network restrictions",
        "write them down from the dashboard, Project Settings",
    ),
)


def items_outside() -> list[Item]:
    """What no database shows: a project may have it or not, so a person looks."""
    return [
        Item(kind, "(all)", Fate.BY_HAND, f"{what}; not in the database", NextStep(how), hash_of(kind))
        for kind, what, how in _OUTSIDE
    ]
