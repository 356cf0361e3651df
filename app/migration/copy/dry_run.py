"""A copy for trial: every row into a temporary table like the target's, one table at a time, dropped after."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from time import monotonic

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow
from sqlalchemy import Table

from app.migration.load import statements
from app.migration.load.bisection import Fault, first_piece, load_rows, number_column, stage_page, waiting_key
from app.migration.runs.report import Refusal
from app.migration.sources.moved_tables import NotMoved, choose_moved, exact_count, pick_keys
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import Page, Progress, Source
from app.migration.tables.copy_table import CopyTable, name_of, named
from app.migration.tables.described_table import describe
from app.migration.tables.put_aside import find_unvalidated
from app.migration.target.target_session import as_json, dropped_after, explained, is_row_fault, open_target
from app.migration.whole import STAGING, staged
from app.privacy import mask_phones
from app.state.fetching import fetch_column, fetch_rows, fetch_value
from app.stores.postgres.cursors import rendered

STEP = "copy --dry-run"
# What a temporary table cannot tell.
UNCHECKED = (
    "foreign keys",
    "conflicts with rows that the target holds already",
    "triggers of the target",
    "the free space on the target's disk, which only its administrator can see",
)
_EXAMPLES = 20
_TRIAL = "trial_rows"
_HERE = sql.Identifier("pg_temp", _TRIAL)
# The columns that a copy leaves to the table: a default, an identity or a NOT NULL would stand in the way.
_OTHER_COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
AND attgenerated = '' AND attnotnull AND attname <> ALL (%s)
"""
_UNIQUE_INDEXES = """
SELECT c.relname, ARRAY(SELECT pg_get_indexdef(indexrelid, k, false) FROM generate_series(1, indnatts) k)::text,
    pg_get_expr(indpred, indrelid), indclass::text, indcollation::text, indisexclusion
FROM pg_index JOIN pg_class c ON c.oid = indexrelid
WHERE indrelid = to_regclass(%s) AND (indisunique OR indisexclusion) ORDER BY c.relname
"""


@dataclass(slots=True)
class TableTried:
    """What came of one table's rows.

    Attributes:
        rows: exact count in the source.
        tried: rows that were loaded for trial, the refused ones included.
        refused: how many the target would refuse, by SQLSTATE and place.
        examples: the first of them; keys are masked where they hold phone numbers.
        seconds: that reading and loading took.
        bytes: that the rows took in the temporary table, indexes included.
    """

    table: str
    rows: int
    tried: int = 0
    refused: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    examples: list[Refusal] = field(default_factory=list)
    seconds: float = 0.0
    bytes: int = 0

    @property
    def expected_seconds(self) -> float:
        """What all rows would take at the same rate."""
        return self.seconds * max(1.0, self.rows / self.tried) if self.tried else self.seconds

    @property
    def expected_bytes(self) -> int:
        """What all rows would take on the target's disk."""
        return round(self.bytes * max(1.0, self.rows / self.tried)) if self.tried else self.bytes


@dataclass(frozen=True, slots=True)
class DryRunReport:
    """A whole dry run.

    Attributes:
        sample: rows of a table at most, picked at random; None: all rows. A table without a key is tried whole.
        not_moved: tables that cannot be copied from this source.
    """

    tables: tuple[TableTried, ...]
    sample: int | None
    seconds: float
    not_moved: tuple[NotMoved, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing would be refused."""
        return not self.not_moved and not any(table.refused for table in self.tables)


async def dry_run(
    source: Source, target_url: str, tables: Sequence[Table], progress: Progress, *, sample: int | None = None
) -> DryRunReport:
    """Load the rows for trial; nothing is left in the target, whose tables, sequences and tool schema are not touched.

    Args:
        sample: load only so many rows of each table, picked at random over all of its keys.

    Raises:
        MigrationError: one of the sides cannot be used.
    """
    began = monotonic()
    tried = []
    async with open_target(target_url, step=STEP) as connection:
        with explained(STEP, setting=source.setting, pending="everything; nothing was written"):
            moved, not_moved = await choose_moved(connection, source, tables, progress, step=STEP)
        for table in moved:
            pending = "the rest of the trial; nothing was written"
            with explained(STEP, setting=source.setting, table=name_of(table), pending=pending):
                described = await describe(connection, table, step=STEP, styled=isinstance(source, RestSource))
                tried.append(await _Trial(connection, source, described, progress, sample).run())
    return DryRunReport(tuple(tried), sample, monotonic() - began, not_moved)


class _Trial:
    """One table's."""

    def __init__(
        self, connection: AsyncConnection, source: Source, table: CopyTable, progress: Progress, sample: int | None
    ) -> None:
        self._connection = connection
        self._source = source
        self._table = table
        self._progress = progress
        self._sample = sample
        # The trial's table has no triggers and no identity columns, so that an update does as written.
        self._trial = replace(
            table,
            schema="pg_temp",
            relation_name=_TRIAL,
            replaces_rows=False,
            always_identity=False,
            has_only=True,
        )
        self._load = rendered(statements.load_page(self._trial))
        self._piece: int | None = None
        self._places: dict[str, str] = {}

    async def run(self) -> TableTried:
        rows = await exact_count(self._source, self._table)
        done = TableTried(self._table.name, rows)
        wanted = rows if self._sample is None else min(rows, self._sample)
        self._progress.begin(self._table.name, wanted, 0)
        async with dropped_after(self._connection, _TRIAL):
            self._places = await _create_trial(self._connection, self._table)
            began = monotonic()
            if self._table.key:
                await self._try_pages(done)
            else:
                await self._try_whole(done)
            done.seconds = monotonic() - began
            done.bytes = await _size(self._connection)
        return done

    async def _try_pages(self, done: TableTried) -> None:
        pages = self._source.pages(self._table)
        if self._sample is not None:
            pages = self._source.rows_by_key(self._table, await pick_keys(self._source, self._table, self._sample))
        async with aclosing(pages):  # type: ignore[type-var]
            async for page in pages:
                await self._try(page, done)
                self._progress.advance(self._table.name, page.rows)

    async def _try_whole(self, done: TableTried) -> None:
        """All rows of a table without a key at once."""
        assert isinstance(self._source, PostgresSource)
        async with staged(self._connection, self._source, self._table) as rows, self._connection.transaction():
            await self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            _, faults = await load_rows(self._connection, self._trial, STAGING, rows, most=rows + 1)
            done.tried += rows
            await self._note(STAGING, faults, done)
            self._progress.advance(self._table.name, rows)

    async def _try(self, page: Page, done: TableTried) -> None:
        await statements.ensure_refusal(self._connection, self._trial)
        async with self._connection.transaction():
            await self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            if self._piece is None and await self._whole(page):
                done.tried += page.rows
                return
            staging, rows = await stage_page(self._connection, self._trial, page.body)
            _, faults = await load_rows(
                self._connection, self._trial, staging, rows, most=rows + 1, piece=self._piece or rows
            )
            self._piece = first_piece(rows, len(faults)) if faults else None
            done.tried += rows
            await self._note(staging, faults, done)

    async def _whole(self, page: Page) -> bool:
        try:
            async with self._connection.transaction():
                await self._connection.execute(self._load, [as_json(page.body)])
        except psycopg.Error as error:
            if not is_row_fault(error):
                raise
            return False
        return True

    async def _note(self, staging: str, faults: tuple[Fault, ...], done: TableTried) -> None:
        def place(fault: Fault) -> str | None:
            return self._places.get(fault.place, fault.place) if fault.place else None

        done.refused.update((fault.sqlstate, place(fault)) for fault in faults)
        shown = faults[: _EXAMPLES - len(done.examples)]
        number = sql.Identifier(number_column(self._table))
        keyed = await fetch_rows(
            self._connection,
            sql.SQL("SELECT s.{}, {} FROM pg_temp.{} s WHERE s.{} = ANY (%s)").format(
                number, waiting_key(self._table), sql.Identifier(staging), number
            ),
            [[fault.number for fault in shown]],
        )
        keys: dict[int, list[str]] = dict(keyed)
        mask = mask_phones if self._table.key_holds_phone else str
        done.examples += [
            Refusal(self._table.name, tuple(map(mask, keys[fault.number])), fault.sqlstate, place(fault))
            for fault in shown
        ]


async def _create_trial(connection: AsyncConnection, table: CopyTable) -> dict[str, str]:
    """Make the table of the trial: like the target's, with its constraints and indexes, without its sequences.

    Returns:
        The names of the target's unique indexes and constraints, by the names that they have here.
    """
    await connection.execute(
        # A default could take a number from the target's sequence, an identity would make a sequence.
        sql.SQL("CREATE TEMP TABLE {} (LIKE {} INCLUDING ALL EXCLUDING DEFAULTS EXCLUDING IDENTITY)").format(
            sql.Identifier(_TRIAL), table.identifier
        )
    )
    for name in await fetch_column(connection, _OTHER_COLUMNS, [_HERE.as_string(None), table.names]):
        await connection.execute(sql.SQL("ALTER TABLE {} ALTER {} DROP NOT NULL").format(_HERE, sql.Identifier(name)))
    for check in await find_unvalidated(connection, named(connection, table.identifier)):
        if check.owned and check.of_table:
            await connection.execute(
                sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}").format(_HERE, sql.Identifier(check.name))
            )
    theirs: defaultdict[tuple[object, ...], list[str]] = defaultdict(list)
    for name, *definition in await _unique_indexes(connection, table.identifier):
        theirs[tuple(definition)].append(name)
    return {
        name: theirs[tuple(definition)].pop(0)
        for name, *definition in await _unique_indexes(connection, _HERE)
        if theirs[tuple(definition)]
    }


async def _size(connection: AsyncConnection) -> int:
    """Bytes on disk, with indexes and TOAST."""
    return int(await fetch_value(connection, "SELECT pg_total_relation_size(to_regclass(%s))", [_HERE.as_string(None)]))


async def _unique_indexes(connection: AsyncConnection, table: sql.Identifier) -> list[TupleRow]:
    return await fetch_rows(connection, _UNIQUE_INDEXES, [named(connection, table)])
