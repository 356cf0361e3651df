"""Key ranges: a large table is read in pieces, each loaded over two connections in one transaction.

Its rows go straight in where that can be, else by way of a temporary table. No range is read again after that.
"""

from dataclasses import dataclass
from typing import NamedTuple

import psycopg
from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.migration.load.bisection import create_staging, number_column
from app.migration.load.loader import load_staged, record_loaded
from app.migration.load.table_authority import Permit
from app.migration.retry import repeated
from app.migration.runs.report import Loaded
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.postgres.snapshot import SnapshotSession
from app.migration.sources.postgres.streams import pipe
from app.migration.tables.copy_table import CopyTable
from app.migration.target.interference import loading
from app.migration.target.target_session import is_row_fault
from app.migration.whole import STAGING, replace_rows
from app.state.fetching import fetch_value
from app.state.runs.checkpoints import finish_range
from app.stores.supabase.grammar import alias


class KeyRange(NamedTuple):
    """The keys above `low`, up to and including `high`, in the source's own order; None: no bound on that side."""

    number: int
    low: Key | None
    high: Key | None

    def condition(self, table: CopyTable) -> sql.Composed:
        """The WHERE clause. Its texts have no type: PostgreSQL takes each as one of its column's."""
        key = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.key)
        bounds = [
            sql.SQL("({}) {} ({})").format(key, sql.SQL(operator), sql.SQL(", ").join(map(sql.Literal, bound)))
            for operator, bound in ((">", self.low), ("<=", self.high))
            if bound is not None
        ]
        return sql.SQL(" WHERE {}").format(sql.SQL(" AND ").join(bounds)) if bounds else sql.SQL("").format()


async def plan_ranges(
    source: PostgresSource, table: CopyTable, count: int, *, most_rows: int, most_bytes: int
) -> list[KeyRange]:
    """Cut a table into ranges of about so many rows or bytes, whichever is less: one scan of its key's index.

    A table without a key is one range.

    Args:
        count: the table's rows.
    """
    if not table.key:
        return [KeyRange(1, None, None)]
    size = sql.SQL("SELECT coalesce(pg_table_size(to_regclass({})), 0)").format(
        sql.Literal(table.identifier.as_string(None))
    )
    ((table_bytes,),) = await source.fetch(size)
    rows = max(1, min(most_rows, most_bytes * count // table_bytes if table_bytes else most_rows))
    bounds: list[Key | None] = [None]
    while len(bounds) < -(-count // rows):
        bound = await _key_behind(source, table, KeyRange(len(bounds), bounds[-1], None), rows)
        if bound is None:
            break
        bounds.append(bound)
    return [
        KeyRange(number, low, high)
        for number, (low, high) in enumerate(zip(bounds, [*bounds[1:], None], strict=True), start=1)
    ]


async def _key_behind(source: PostgresSource, table: CopyTable, rest: KeyRange, rows: int) -> Key | None:
    """The key of the last of the first so many rows; None where there are fewer, as in a view with a key twice."""
    own = await source.own(table)
    texts = (
        sql.SQL("{}::text AS {}").format(sql.Identifier(column.name), sql.Identifier(alias(position)))
        for position, column in enumerate(table.key)
    )
    found = await source.fetch(
        sql.SQL("SELECT {} FROM {}{} ORDER BY {} LIMIT 1 OFFSET {}").format(
            sql.SQL(", ").join(texts),
            own.rows,
            rest.condition(table),
            sql.SQL(", ").join(sql.Identifier(column.name) for column in table.key),
            sql.Literal(rows - 1),
        )
    )
    return tuple(found[0]) if found else None


@dataclass(slots=True)
class TableJob:
    """A table's part of a start.

    Attributes:
        source: the table as the source has it.
        same: names of the columns whose type is the same builtin one on both ends.
        straight: rows go into the table itself, since nothing was there when the run came to it, and none was refused
            yet.
        source_rows: in the snapshot.
        open: how many ranges are not complete.
        done_before: the table was complete before this start.
    """

    table: CopyTable
    source: CopyTable
    same: frozenset[str]
    straight: bool
    source_rows: int
    open: int
    done_before: bool
    began: float | None = None
    seconds: float = 0.0


class RangeLoader:
    """Loads ranges, one at a time.

    Args:
        reader: a session in the run's snapshot.
        target: a session of its own, in autocommit.
        most_refused: refused rows in the run past which the mistake is elsewhere.
        permit: asked before each commit whether the table may be written still.
    """

    def __init__(
        self,
        reader: SnapshotSession,
        target: AsyncConnection,
        run: int,
        *,
        most_refused: int,
        permit: Permit,
    ) -> None:
        self._reader = reader
        self._target = target
        self._run = run
        self._most_refused = most_refused
        self._permit = permit

    async def load(self, job: TableJob, key_range: KeyRange) -> Loaded:
        """Load a range and mark it complete in the same transaction, which begins when the source may be asked.

        Raises:
            StoreError: the source failed; nothing of the range is in.
            psycopg.Error: the target failed; nothing of the range is in.
            MigrationError: more rows were refused than `most_refused`.
        """
        async with self._reader.source.pace.request(in_snapshot=True):
            return await self._load(job, key_range)

    async def _load(self, job: TableJob, key_range: KeyRange) -> Loaded:
        if job.straight:
            try:
                return await repeated(lambda: self._straight(job, key_range))
            except psycopg.Error as error:
                # 0A000: the table takes no COPY, for its row-level security or since it is a view.
                if not is_row_fault(error) and error.sqlstate != "0A000":
                    raise
                job.straight = False
        try:
            return await repeated(lambda: self._staged(job, key_range, job.same))
        except psycopg.Error as error:
            if not is_row_fault(error):
                raise
        # A value that its own type refuses here, such as an infinite numeric from a newer server: as text, any goes in.
        return await repeated(lambda: self._staged(job, key_range, frozenset()))

    async def _straight(self, job: TableJob, key_range: KeyRange) -> Loaded:
        async with self._target.transaction(), loading(self._target, self._run, job.table):
            rows = await self._pipe(job, key_range, job.table.identifier, job.same)
            transaction = await fetch_value(self._target, "SELECT pg_current_xact_id()::xid::text")
            loaded = Loaded(inserted=rows, rows=rows, transactions={transaction})
            await self._record(job.table, key_range, loaded)
        return loaded

    async def _staged(self, job: TableJob, key_range: KeyRange, same: frozenset[str]) -> Loaded:
        table, number = job.table, sql.Identifier(number_column(job.table))
        async with self._target.transaction(), loading(self._target, self._run, table):
            # A deferred constraint would speak up at the commit, where the row at fault cannot be told.
            await self._target.execute("SET CONSTRAINTS ALL IMMEDIATE")
            await self._target.execute(sql.SQL("{} ON COMMIT DROP").format(create_staging(table, STAGING, same)))
            rows = await self._pipe(job, key_range, sql.Identifier("pg_temp", STAGING), same)
            await self._target.execute(
                sql.SQL("CREATE INDEX ON pg_temp.{} ({})").format(sql.Identifier(STAGING), number)
            )
            if table.key:
                loaded = await load_staged(
                    self._target,
                    table,
                    self._run,
                    step="copy",
                    most_refused=self._most_refused,
                    staging=STAGING,
                    rows=rows,
                )
            else:
                done = await replace_rows(self._target, table, self._run, step="copy", most_refused=self._most_refused)
                loaded = done.loaded
            await self._record(table, key_range, loaded)
        return loaded

    async def _pipe(self, job: TableJob, key_range: KeyRange, into: sql.Identifier, same: frozenset[str]) -> int:
        """Copy the rows of a range; in PostgreSQL's binary form where every value can go so."""
        source = await self._reader.reading(job.table)
        names = sql.SQL(", ").join(map(sql.Identifier, job.table.names))
        form = sql.SQL("(FORMAT binary)" if same.issuperset(job.table.names) else "(FORMAT text)")
        values = sql.SQL(", ").join(
            sql.SQL("{}" if column.name in same else "{}::text").format(sql.Identifier(column.name))
            for column in job.table.columns
        )
        rows = sql.SQL("SELECT {} FROM {}{}").format(values, job.source.rows, key_range.condition(job.table))
        return await pipe(
            source,
            sql.SQL("COPY ({}) TO STDOUT {}").format(rows, form),
            self._target,
            sql.SQL("COPY {} ({}) FROM STDIN {}").format(into, names, form),
            self._reader.source.pace,
            range_of=job.table.name,
        )

    async def _record(self, table: CopyTable, key_range: KeyRange, loaded: Loaded) -> None:
        await finish_range(self._target, self._run, table.name, key_range.number, loaded.rows)
        await record_loaded(self._target, self._run, table.name, loaded)
        await self._permit.confirm(self._target, table.name)
