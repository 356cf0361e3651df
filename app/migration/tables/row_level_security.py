"""Whether row-level security could hide rows from a role, and what helps."""

from psycopg import AsyncConnection

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
