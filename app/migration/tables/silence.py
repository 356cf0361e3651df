"""Whether the triggers and rules of a table can be silent while this program writes its rows, and for nobody else.

Under `session_replication_role = replica` those that are enabled as usual do not fire; those enabled ALWAYS or for a
REPLICA do. SET LOCAL ends with its transaction, so that there is nothing to be switched on again.
"""

from typing import NamedTuple

from psycopg import AsyncConnection
from psycopg.errors import InsufficientPrivilege

from app.migration.tables.copy_table import quoted
from app.state.fetching import fetch_row, fetch_value

BE_SILENT = "SET LOCAL session_replication_role = replica"
NO_LONGER = "SET LOCAL session_replication_role TO DEFAULT"

# PostgreSQL's own triggers are silent too. What they keep of a foreign key is proved afterwards (target/foreign_keys),
# what they keep of a deferrable unique or exclusion constraint, or of a key with a PERIOD, is not.
# Bits of pg_trigger.tgtype: 4 insert, 8 delete, 16 update; pg_rewrite.ev_type: 2 update, 3 insert, 4 delete.
_LOOK = """
WITH named (oid) AS (SELECT oid FROM pg_class WHERE oid = to_regclass(%(table)s) AND relkind IN ('r', 'p')),
tree AS (SELECT oid FROM named UNION SELECT relid FROM named, pg_partition_tree(named.oid))
SELECT EXISTS (SELECT FROM pg_trigger JOIN tree ON tree.oid = tgrelid
        WHERE NOT tgisinternal AND tgenabled = 'O' AND tgtype & 28 <> 0)
    OR EXISTS (SELECT FROM pg_rewrite JOIN tree ON tree.oid = ev_class
        WHERE ev_type IN ('2', '3', '4') AND ev_enabled = 'O'),
    EXISTS (SELECT FROM pg_index JOIN tree ON tree.oid = indrelid WHERE NOT indimmediate)
    OR EXISTS (SELECT FROM pg_constraint c JOIN tree ON tree.oid IN (conrelid, confrelid)
        WHERE contype = 'f' AND (to_jsonb(c) ->> 'conperiod')::boolean)
"""


class Silence(NamedTuple):
    """What is so of a table.

    Attributes:
        wanted: it has triggers or rules that would be silent.
        unsafe: a constraint of it would not be kept meanwhile, and nothing would find out.
        granted: the role may set `session_replication_role`.
    """

    wanted: bool
    unsafe: bool
    granted: bool

    @property
    def holds(self) -> bool:
        """Whether its triggers and rules are silent while this program writes its rows."""
        return self.wanted and self.granted and not self.unsafe


async def silence(connection: AsyncConnection, qualified: str) -> Silence:
    """Look at a table of the target, by its quoted name."""
    wanted, unsafe = await fetch_row(connection, _LOOK, {"table": qualified})
    return Silence(wanted, unsafe, granted=wanted and await _is_granted(connection))


async def _is_granted(connection: AsyncConnection) -> bool:
    """By trying: a superuser may, a role with the grant, and on some services others."""
    try:
        async with connection.transaction(force_rollback=True):
            await connection.execute(BE_SILENT)
    except InsufficientPrivilege:
        return False
    return True


async def grant_of_silence(connection: AsyncConnection) -> str | None:
    """The statement with which a superuser lets the role set it; None where the server has no such grant."""
    if connection.info.server_version < 150000:
        return None
    role = await fetch_value(connection, "SELECT current_user")
    return f"GRANT SET ON PARAMETER session_replication_role TO {quoted(role)}"
