"""What of a table is put aside while this program writes its rows, and for nobody else: triggers, rules, some checks.

Under `session_replication_role = replica` triggers and rules that are enabled as usual do not fire; those enabled
ALWAYS or for a REPLICA do. SET LOCAL ends with its transaction, so that there is nothing to be switched on again.

A check that is NOT VALID holds for rows that are written, and old rows may break it. So it would refuse rows that the
source has. It is away in the transactions that write rows, and back before these end. For everybody else it is there
all the time: the table is locked meanwhile, and what is changed of a domain is seen by this transaction alone. A run
that is killed has taken nothing away.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from psycopg import AsyncConnection
from psycopg.errors import InsufficientPrivilege
from psycopg.rows import class_row

from app.common.schemas import schemas_of
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


# From PostgreSQL 18 on a NOT NULL can be NOT VALID too. One that is inherited is taken away where it comes from.
# pg_range.rngmultitypid came with PostgreSQL 14.
_FIND = """
WITH RECURSIVE tree (oid) AS (
    SELECT to_regclass(%(table)s)::oid UNION SELECT relid FROM pg_partition_tree(to_regclass(%(table)s))
), here (relation, name, kind) AS (
    SELECT conrelid, conname, contype FROM pg_constraint JOIN tree ON tree.oid = conrelid
    WHERE contype IN ('c', 'n') AND NOT convalidated
    UNION
    SELECT up.conrelid, up.conname, up.contype FROM here JOIN pg_inherits i ON i.inhrelid = here.relation
    JOIN pg_constraint up ON (up.conrelid, up.conname, up.contype) = (i.inhparent, here.name, here.kind)
    WHERE NOT up.convalidated AND NOT up.connoinherit
), used (oid) AS (
    SELECT a.atttypid FROM pg_attribute a JOIN tree ON tree.oid = a.attrelid WHERE a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT made.oid FROM used JOIN pg_type t ON t.oid = used.oid CROSS JOIN LATERAL (
        SELECT unnest(ARRAY[t.typbasetype, t.typelem])
        UNION ALL SELECT f.atttypid FROM pg_attribute f
            WHERE t.typtype = 'c' AND f.attrelid = t.typrelid AND f.attnum > 0 AND NOT f.attisdropped
        UNION ALL SELECT r.rngsubtype FROM pg_range r
            WHERE t.oid IN (r.rngtypid, (to_jsonb(r) ->> 'rngmultitypid')::oid)
    ) made (oid) WHERE made.oid <> 0
), found AS (
    SELECT c.oid, c.conname, t.relowner AS owner, 'TABLE ' AS kind, n.nspname, t.relname AS name
    FROM here JOIN pg_constraint c ON (c.conrelid, c.conname, c.contype) = (here.relation, here.name, here.kind)
    JOIN pg_class t ON t.oid = c.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace WHERE c.coninhcount = 0
    UNION ALL
    SELECT c.oid, c.conname, d.typowner, 'DOMAIN ', n.nspname, d.typname
    FROM used JOIN pg_constraint c ON c.contypid = used.oid JOIN pg_type d ON d.oid = used.oid
    JOIN pg_namespace n ON n.oid = d.typnamespace WHERE NOT c.convalidated
)
SELECT conname AS name, format('%%s%%I.%%I', lower(kind), nspname, name) AS place, kind = 'TABLE ' AS of_table,
    pg_has_role(owner, 'USAGE') AS owned,
    format('ALTER %%s%%I.%%I DROP CONSTRAINT %%I', kind, nspname, name, conname) AS drop,
    format('ALTER %%s%%I.%%I ADD CONSTRAINT %%I %%s', kind, nspname, name, conname, pg_get_constraintdef(oid))
    || coalesce(format('; COMMENT ON CONSTRAINT %%I ON %%s%%I.%%I IS %%L', conname, nullif(kind, 'TABLE '), nspname,
        name, obj_description(oid, 'pg_constraint')), '') AS add
FROM found ORDER BY kind, nspname, name, conname
"""
# No lock keeps two sessions from changing one domain, so they come one after the other.
_ONE_AT_A_TIME = 5_287_410_333


@dataclass(frozen=True, slots=True)
class UnvalidatedCheck:
    """A check that is NOT VALID.

    Attributes:
        place: the kind and quoted name of what it is on, `of_table` or of a domain.
        owned: the role may take it away, and put it back.
        drop, add: the statements that do.
    """

    name: str
    place: str
    of_table: bool
    owned: bool
    drop: str
    add: str


async def find_unvalidated(connection: AsyncConnection, qualified: str) -> list[UnvalidatedCheck]:
    """Those of a table by its quoted name, of its partitions and of its columns' domains."""
    cursor = connection.cursor(row_factory=class_row(UnvalidatedCheck))
    await cursor.execute(_FIND, {"table": qualified})
    return await cursor.fetchall()


@asynccontextmanager
async def without_unvalidated(connection: AsyncConnection, qualified: str) -> AsyncIterator[None]:
    """The first part of a transaction, which writes rows of a table; deferred constraints speak up at its end."""
    lock = schemas_of(connection).lock(_ONE_AT_A_TIME)
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", [lock])
    away: list[UnvalidatedCheck] = []
    if any(one.owned and one.of_table for one in await find_unvalidated(connection, qualified)):
        await connection.execute(f"LOCK TABLE {qualified} IN ACCESS EXCLUSIVE MODE".encode())
    # A table that inherits one may have the same itself, too, which shows once its parent's has gone.
    while found := [one for one in await find_unvalidated(connection, qualified) if one.owned]:
        for one in found:
            await connection.execute(one.drop.encode())
        away += found
    yield
    await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # no table is altered that has rows to be checked yet
    for one in reversed(away):
        await connection.execute(one.add.encode())
