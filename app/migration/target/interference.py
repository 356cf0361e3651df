"""What the target does by itself when rows are written: its triggers and rules, and foreign keys that cascade."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass

from psycopg import AsyncConnection, sql

from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Source
from app.migration.tables.copy_table import CopyTable, named
from app.migration.tables.put_aside import BE_SILENT, NO_LONGER, without_unvalidated
from app.state.fetching import fetch_rows, fetch_value
from app.state.runs import foreign_keys

# Bits of tgtype: 2 before, 4 insert, 8 delete, 16 update (src/include/catalog/pg_trigger.h). A trigger that a partition
# has from its parent is told once, there. A rule's ev_type: 2 update, 3 insert, 4 delete (src/include/nodes/nodes.h).
_FIND = r"""
WITH named AS (SELECT to_regclass(name) AS oid FROM unnest(%(tables)s::text[]) name),
own AS (SELECT oid FROM named UNION SELECT relid FROM named, pg_partition_tree(named.oid))
SELECT 'TRIGGER', t.tgname, c.oid::regclass::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
    t.tgfoid::regproc::text, ARRAY(SELECT DISTINCT found[1] FROM pg_proc p, regexp_matches(p.prosrc,
        '\m((?:net|supabase_functions)\.http_\w+)', 'g') found WHERE p.oid = t.tgfoid ORDER BY 1),
    t.tgenabled::text, array_remove(ARRAY[CASE WHEN t.tgtype & 4 = 4 THEN 'insert' END,
    CASE WHEN t.tgtype & 8 = 8 THEN 'delete' END, CASE WHEN t.tgtype & 16 = 16 THEN 'update' END], NULL)
FROM own JOIN pg_trigger t ON t.tgrelid = own.oid JOIN pg_class c ON c.oid = own.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'
    AND NOT EXISTS (SELECT FROM pg_trigger up JOIN own ON own.oid = up.tgrelid WHERE up.oid = t.tgparentid)
UNION ALL
SELECT 'RULE', r.rulename, c.oid::regclass::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
    '', '{}', r.ev_enabled::text, ARRAY[CASE r.ev_type WHEN '2' THEN 'update' WHEN '3' THEN 'insert' ELSE 'delete' END]
FROM own JOIN pg_rewrite r ON r.ev_class = own.oid JOIN pg_class c ON c.oid = own.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.ev_type IN ('2', '3', '4') AND r.ev_enabled <> 'D' AND c.relkind IN ('r', 'p')
ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Interference:
    """A trigger or a rule.

    Attributes:
        kind: "TRIGGER" or "RULE".
        relation, quoted: the table or partition that has it, for people and for statements.
        function: a trigger's.
        calls: functions for HTTP that this function's text names.
        enabled: "O" as usual, "A" always, "R" in a replica's sessions alone.
        events: of insert, update and delete.
    """

    kind: str
    name: str
    relation: str
    quoted: str
    function: str
    calls: tuple[str, ...]
    enabled: str
    events: frozenset[str]

    def __str__(self) -> str:
        """It in words."""
        return f"{self.kind.lower()} {self.name} of {self.relation}"

    @property
    def runs(self) -> str:
        """What a trigger runs, in words."""
        return f"runs {self.function}" + (f", which calls {', '.join(self.calls)}" if self.calls else "")

    def fires(self, *, silent: bool) -> bool:
        """Whether it does, in a transaction in which triggers and rules are `silent`, or in any other."""
        return self.enabled in ("AR" if silent else "AO")


async def find_interference(connection: AsyncConnection, *qualified: str) -> list[Interference]:
    """The enabled triggers and rules of tables by their quoted names, but for those that PostgreSQL made itself."""
    rows = await fetch_rows(connection, _FIND, {"tables": list(qualified)})
    return [
        Interference(kind, name, relation, quoted, function, tuple(calls), enabled, frozenset(events))
        for kind, name, relation, quoted, function, calls, enabled, events in rows
    ]


async def find_firing(connection: AsyncConnection, tables: Sequence[CopyTable]) -> list[Interference]:
    """Those that fire when this program writes to the tables."""
    found: dict[Interference, None] = {}
    for silent in (False, True):
        names = [named(connection, table.identifier) for table in tables if table.silent is silent]
        found |= {one: None for one in await find_interference(connection, *names) if one.fires(silent=silent)}
    return list(found)


async def find_writers(connection: AsyncConnection, tables: Sequence[CopyTable]) -> list[Interference]:
    """Those that may write to other tables when this program inserts or deletes rows."""
    found = await find_firing(connection, tables)
    return [one for one in found if one.kind == "RULE" or one.events & {"insert", "delete"}]


@asynccontextmanager
async def loading(connection: AsyncConnection, run: int, table: CopyTable) -> AsyncIterator[None]:
    """The first part of a transaction, which brings rows: `silenced`, and without checks that are NOT VALID."""
    qualified = named(connection, table.identifier)
    checks = without_unvalidated(connection, qualified) if table.has_unvalidated else nullcontext()
    async with checks, silenced(connection, run, table):
        yield


@asynccontextmanager
async def silenced(connection: AsyncConnection, run: int, table: CopyTable) -> AsyncIterator[None]:
    """The part of a transaction that writes rows of a table; its triggers and rules are silent where they can be.

    PostgreSQL does not check foreign keys meanwhile. So those that are on or to the table are noted as unproved in the
    same transaction: whoever ends the run proves them, or the next run where this one is killed.
    """
    if not table.silent:
        yield
        return
    await foreign_keys.note_unproved(connection, run, named(connection, table.identifier))
    await connection.execute(BE_SILENT)
    yield
    await connection.execute(NO_LONGER)  # after an error the transaction ends, and this with it


# pg_constraint.confdeltype: c cascade, n set null, d set default.
_CASCADES = """
SELECT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confdeltype IN ('c', 'n', 'd')
    AND confrelid = to_regclass({}))
"""


async def has_cascades(connection: AsyncConnection, source: Source, table: CopyTable) -> bool:
    """Whether one leads to the table, at either end; over REST only the target's are seen."""
    query = sql.SQL(_CASCADES).format(sql.Literal(table.identifier.as_string(None)))
    if await fetch_value(connection, query):
        return True
    return isinstance(source, PostgresSource) and (await source.fetch(query))[0][0]
