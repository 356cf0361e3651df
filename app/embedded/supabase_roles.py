"""The roles of a hosted Supabase, and their rights, for a database that is to stand behind one."""

import psycopg
from psycopg import sql

_ROLES = (("anon", False), ("authenticated", False), ("service_role", True))  # (name, bypasses row-level security)


def prepare_supabase_roles(database_url: str) -> None:
    """Gives a database the roles of a hosted Supabase, and their rights on schema public, now and for later tables."""
    names = sql.SQL(", ").join(sql.Identifier(name) for name, _ in _ROLES)
    with psycopg.connect(database_url) as connection:
        # Roles belong to the server: two databases may be prepared at once.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('botdata: Supabase roles'))")
        for name, bypasses in _ROLES:
            known = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone()
            if known is None:
                statement = "CREATE ROLE {} NOLOGIN BYPASSRLS" if bypasses else "CREATE ROLE {} NOLOGIN"
                connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(names))
        for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"):
            for statement in (
                "GRANT ALL ON ALL {} IN SCHEMA public TO {}",
                "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON {} TO {}",
            ):
                connection.execute(sql.SQL(statement).format(sql.SQL(kind), names))
