"""Rights of a role: whether row-level security could hide rows from it, and the GRANT that it lacks."""

import re

from psycopg import AsyncConnection

from app.migration.tables.copy_table import quoted
from app.state.fetching import fetch_value

# Policies that say `true` to all that is read and written hide nothing: the session tables of WhatsApp may have such.
_HIDES = """
WITH chosen AS (
    SELECT polcmd, polpermissive, coalesce(pg_get_expr(polqual, polrelid), 'true') = 'true'
        AND coalesce(pg_get_expr(polwithcheck, polrelid), 'true') = 'true' AS says_true
    FROM pg_policy WHERE polrelid = to_regclass(%(table)s) AND EXISTS (
        SELECT FROM unnest(polroles) AS named (role)
        WHERE role = 0 OR pg_has_role(current_user, CASE role WHEN 0 THEN 10 ELSE role END, 'USAGE'))
)
SELECT coalesce(row_security_active(to_regclass(%(table)s)), false) AND (
    EXISTS (SELECT FROM chosen WHERE NOT polpermissive AND NOT says_true)
    OR EXISTS (SELECT FROM unnest('{r,a,w,d}'::"char"[]) AS done (command) WHERE NOT EXISTS (
        SELECT FROM chosen WHERE polpermissive AND says_true AND polcmd IN ('*', command))))
"""


async def hides_rows(connection: AsyncConnection, qualified: str) -> bool:
    """Whether policies of a table, by its quoted name, apply to the role and are more than `true` for all it does."""
    return bool(await fetch_value(connection, _HIDES, {"table": qualified}))


def remedy(quoted: str) -> str:
    """What helps, by the table's name as it stands in a statement."""
    return (
        "use the tables' owner or a role with BYPASSRLS (ALTER ROLE ... BYPASSRLS); where the owner is under it, "
        f"for the time of the move: ALTER TABLE {quoted} NO FORCE ROW LEVEL SECURITY"
    )


SERVICE_ROLE = "service_role"
_SCHEMA = re.compile(r"permission denied for schema (.+?)\)? \[")
_RELATION = re.compile(r"permission denied for (?:table|view|materialized view|foreign table|relation) (.+?)\)? \[")


def grant_select(schema: str, table: str, role: str = SERVICE_ROLE) -> str:
    """The right to read a table."""
    return f"GRANT SELECT ON {quoted(schema)}.{quoted(table)} TO {role}"


def grant_usage(schema: str, role: str = SERVICE_ROLE) -> str:
    """The right to use what is in a schema."""
    return f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {role}"


def schema_denied(message: str) -> str | None:
    """The schema that a message of PostgreSQL's says may not be used."""
    found = _SCHEMA.search(message)
    return found[1] if found else None


def grant_of(message: str, table: str | None = None, *, role: str = SERVICE_ROLE, writing: bool = True) -> str:
    """The grant for a right that an error says is missing, to the role of the service key.

    Args:
        message: an error with PostgreSQL's own sentence in it.
        table: the table at hand, with its schema unless that is public.
        writing: tell too which rights writes want.
    """
    if schema := schema_denied(message):
        return grant_usage(schema, role)
    named = _RELATION.search(message)
    relation = named[1] if named else None
    if table is not None and relation is not None and table.endswith(f".{relation}"):
        place = f"{quoted(table.removesuffix(f'.{relation}'))}.{quoted(relation)}"
    elif relation is not None or table is not None:
        place = f"public.{quoted(relation or table or '')}"
    else:
        return f"grant it to {role} (docs/rights.md)"
    return f"GRANT SELECT ON {place} TO {role}" + (
        " (sync --reverse wants INSERT, UPDATE and DELETE too)" if writing else ""
    )
