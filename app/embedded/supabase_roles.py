"""The roles of a hosted Supabase, and their rights, for a database that is to stand behind one."""

from contextlib import suppress

import psycopg
from psycopg import errors, sql

_ROLES = (("anon", False), ("authenticated", False), ("service_role", True))  # (name, bypasses row-level security)


def prepare_supabase_roles(database_url: str) -> None:
    """Gives a database the roles of a hosted Supabase, and their rights on schema public, now and for later tables."""
    names = sql.SQL(", ").join(sql.Identifier(name) for name, _ in _ROLES)
    with psycopg.connect(database_url) as connection:
        for name, bypasses in _ROLES:
            statement = "CREATE ROLE {} NOLOGIN BYPASSRLS" if bypasses else "CREATE ROLE {} NOLOGIN"
            # Roles belong to the server: another of its databases may have them, or be given them at this moment.
            with suppress(errors.DuplicateObject, errors.UniqueViolation), connection.transaction():
                connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(names))
        for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"):
            for statement in (
                "GRANT ALL ON ALL {} IN SCHEMA public TO {}",
                "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON {} TO {}",
            ):
                connection.execute(sql.SQL(statement).format(sql.SQL(kind), names))
