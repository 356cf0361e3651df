"""Loading rows from quarantine into the target, as they are kept there or as they were edited."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from psycopg import AsyncConnection, sql
from sqlalchemy import MetaData

from app.common.keys import Key
from app.migration.load.bisection import Fault, empty_staging, load_rows, number_column
from app.migration.load.refusals import refuse_distributed
from app.migration.load.table_authority import Permit, read_authority
from app.migration.quarantine.quarantined_rows import choose_tables, masked, unknown_numbers
from app.migration.runs.report import Refusal
from app.migration.tables.copy_table import CopyTable, name_of
from app.migration.tables.described_table import describe
from app.migration.tables.metadata import select_tables
from app.migration.target.foreign_keys import without_cascades
from app.migration.target.interference import loading
from app.migration.target.leftovers import Unusable
from app.migration.target.materialized_views import stale_views
from app.migration.target.sequences import raise_sequences
from app.migration.target.target_session import explained, open_target
from app.state.runs import checkpoints, quarantine, writes
from app.state.tool_schema import ensure_tool_schema

STEP = "quarantine replay"
_ROWS_A_TRANSACTION = 500


@dataclass(slots=True)
class TableReplayed:
    """What became of a table's rows. Phone numbers in keys are masked.

    Attributes:
        loaded: how many went in, and left the quarantine.
        refused: rows that the target refused again, with the reason of this time.
        later: rows that were left alone, since the target's row of that key was written later than they were refused.
        stale: rows that have other columns than the table.
        without_values: rows of which only the key is kept, so that nothing is there to be loaded.
        known: False for a table that the MetaData does not have; its rows were left alone.
    """

    table: str
    loaded: int = 0
    refused: list[Refusal] = field(default_factory=list)
    later: list[Key] = field(default_factory=list)
    stale: list[Key] = field(default_factory=list)
    without_values: list[Key] = field(default_factory=list)
    known: bool = True


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """A whole replay.

    Attributes:
        chosen: rows that it was to load.
        remaining: rows in quarantine now, of all tables.
        not_usable: materialized views that are made of rows that went in.
    """

    chosen: int
    tables: tuple[TableReplayed, ...]
    remaining: int
    not_usable: tuple[Unusable, ...] = ()

    @property
    def loaded(self) -> int:
        """Rows that went in."""
        return sum(table.loaded for table in self.tables)

    @property
    def complete(self) -> bool:
        """Whether all chosen rows went in."""
        return self.loaded == self.chosen


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    table: str
    run: int
    key: Key


async def replay(
    target_url: str,
    metadata: MetaData,
    *,
    numbers: Collection[int] | None = None,
    tables: Collection[str] | None = None,
    overwrite: bool = False,
    target_in_use: bool = False,
) -> ReplayReport:
    """Load rows from quarantine, a batch in a transaction; those that go in leave it, the others get their new reason.

    Args:
        numbers, tables: which rows; all of them without either.
        overwrite: also where the target's row was written later, or where the bot writes to the target.
        target_in_use: the flag says that the bot reads and writes PostgreSQL.

    Raises:
        MigrationError: it stopped; rows that had gone in by then are in.
    """
    permit = Permit(
        step=STEP,
        would="a replay would overwrite what the bot has written since",
        in_use=target_in_use,
        overwrite=overwrite,
    )
    async with open_target(target_url, step=STEP, exclusive=True) as connection:
        with explained(STEP, pending="what is still in quarantine"):
            if await quarantine.exists(connection):
                await ensure_tool_schema(connection)
            rows = await _choose(connection, metadata, numbers, tables)
            permit.refuse(await read_authority(connection), dict.fromkeys(row.table for row in rows))
            in_their_order = select_tables(metadata)
            order = {name_of(table): position for position, table in enumerate(in_their_order)}
            rows.sort(key=lambda row: (order.get(row.table, len(order)), row.table, row.run, row.number))
            replayed = []
            known = {row.table: in_their_order[order[row.table]] for row in rows if row.table in order}
            await refuse_distributed(connection, list(known.values()), step=STEP)
            described = {name: await describe(connection, table, step=STEP) for name, table in known.items()}
            run = max((row.run for row in rows), default=0)
            async with without_cascades(connection, run, list(described.values()), step=STEP):
                for name, group in groupby(rows, key=lambda row: row.table):
                    of_table = list(group)
                    if name not in described:
                        replayed.append(TableReplayed(name, known=False))
                        continue
                    so_far = ", ".join(f"{one.loaded} rows of {one.table} loaded" for one in replayed) or None
                    pending = f"{len(of_table)} rows of {name} at most, and those of the tables after it"
                    with explained(STEP, table=name, done=so_far, pending=pending):
                        done = await _replay_table(connection, metadata, described[name], of_table, permit)
                        replayed.append(done)
            changed = [described[one.table] for one in replayed if one.loaded]
            not_usable = await stale_views(connection, changed)
            remaining = await quarantine.count_rows(connection) if await quarantine.exists(connection) else 0
    return ReplayReport(len(rows), tuple(replayed), remaining, tuple(not_usable))


async def _choose(
    connection: AsyncConnection,
    metadata: MetaData,
    numbers: Collection[int] | None,
    tables: Collection[str] | None,
) -> list[_Row]:
    wanted = await choose_tables(connection, metadata, tables, step=STEP)
    rows: list[_Row] = []
    if await quarantine.exists(connection):
        chosen = await quarantine.choose_rows(connection, None if numbers is None else list(numbers), wanted)
        rows = [_Row(*row) for row in chosen]
    if numbers is not None and (unknown := set(numbers) - {row.number for row in rows}):
        raise unknown_numbers(unknown, step=STEP)
    return rows


async def _replay_table(
    connection: AsyncConnection, metadata: MetaData, table: CopyTable, rows: list[_Row], permit: Permit
) -> TableReplayed:
    done = TableReplayed(table.name)
    key_of = {row.number: masked(metadata, table.name, row.key) for row in rows}
    stale = await quarantine.other_columns(connection, list(key_of), table.names)
    lacking = [key_of[number] for number in stale]
    done.stale, done.without_values = ([], lacking) if table.keys_only else (lacking, [])
    waiting = [row for row in rows if row.number not in stale]
    faults: dict[int, Fault] = {}
    later: set[int] = set()
    while waiting:
        faults.clear()
        loaded = 0
        for run, group in groupby(waiting, key=lambda row: row.run):
            numbers = [row.number for row in group]
            for start in range(0, len(numbers), _ROWS_A_TRANSACTION):
                batch = numbers[start : start + _ROWS_A_TRANSACTION]
                kept, refused = await replay_batch(connection, table, run, batch, permit)
                later |= kept
                faults |= refused
                loaded += len(batch) - len(kept) - len(refused)
        done.loaded += loaded
        # One row may have stood in another's way: those refused get another chance for as long as some go in.
        waiting = [row for row in waiting if row.number in faults] if loaded else []
    await raise_sequences(connection, table)
    done.later = [key_of[number] for number in sorted(later)]
    done.refused = [
        Refusal(table.name, key_of[number], fault.sqlstate, fault.place) for number, fault in sorted(faults.items())
    ]
    return done


async def replay_batch(
    connection: AsyncConnection, table: CopyTable, run: int, numbers: Sequence[int], permit: Permit
) -> tuple[set[int], dict[int, Fault]]:
    """Load rows in one transaction; returns those left alone, and those refused with their reasons."""
    async with permit.held(connection, table.name) as confirm, loading(connection, run, table):
        authority = await confirm()
        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        name = await empty_staging(connection, table)
        staging = sql.Identifier("pg_temp", name)
        columns = [number_column(table), *table.names]
        await quarantine.stage_rows(connection, staging, columns, numbers)
        # Where rows are mirrored, one that was written later is a mirror's, and newer than any in quarantine.
        replaces = permit.overwrite and authority.mirrored(table.name) is None
        later = set() if replaces or not table.key else await _leave_later(connection, table, run, staging)
        count = len(numbers)
        done, refused = await load_rows(connection, table, name, count, most=count + 1, piece=count)
        faults = {numbers[fault.number - 1]: fault for fault in refused}
        await quarantine.note_faults(connection, [fault._replace(number=number) for number, fault in faults.items()])
        kept = {numbers[position - 1] for position in later}
        loaded = [number for number in numbers if number not in faults and number not in kept]
        await quarantine.leave_by_number(connection, loaded)
        await checkpoints.add_replayed(
            connection,
            run,
            table.name,
            inserted=done.inserted,
            updated=done.updated,
            unchanged=len(loaded) - done.inserted - done.updated,
        )
        await writes.record_writes(connection, run, table.name, done.transactions)
    return kept, faults


async def _leave_later(connection: AsyncConnection, table: CopyTable, run: int, staging: sql.Identifier) -> set[int]:
    """Take out the rows that the target holds in a later version; returns their numbers."""
    same = sql.SQL(" AND ").join(
        sql.SQL('t.{0}::text COLLATE "C" = s.{0}').format(sql.Identifier(column.name)) for column in table.key
    )
    number = sql.Identifier(number_column(table))
    return await writes.take_later_rows(
        connection, run, table.name, rows=table.rows, staging=staging, same=same, number=number
    )
