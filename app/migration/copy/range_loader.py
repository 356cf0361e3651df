"""Loading one key range over two connections, in one transaction: straight in where that can be, else staged."""

from dataclasses import dataclass, replace

import psycopg
from psycopg import AsyncConnection, sql

from app.migration.copy.ranges import KeyRange
from app.migration.load.bisection import create_staging, number_column
from app.migration.load.loader import load_staged, record_loaded
from app.migration.load.table_authority import Permit
from app.migration.retry import repeated
from app.migration.runs.report import Loaded
from app.migration.sources.pace import Pace
from app.migration.sources.postgres.snapshot import SnapshotSession
from app.migration.sources.postgres.streams import pipe
from app.migration.tables.copy_table import CopyTable
from app.migration.target.interference import loading
from app.migration.target.target_session import is_row_fault
from app.migration.whole import replace_rows
from app.state.fetching import fetch_value
from app.state.runs.ranges import finish_range

_STAGING = "staging"


@dataclass(slots=True)
class Route:
    """How a table's rows go over.

    Attributes:
        source: the table as the source has it.
        straight: into the table itself, since nothing was there when the run came to it, and no row was refused yet.
        same: names of the columns whose type is the same builtin one on both ends.
    """

    table: CopyTable
    source: CopyTable
    straight: bool
    same: frozenset[str]

    @property
    def binary(self) -> bool:
        """Whether every value can go in PostgreSQL's binary form."""
        return self.same.issuperset(self.table.names)


class RangeLoader:
    """Loads ranges, one at a time.

    Args:
        reader: a session in the run's snapshot.
        target: a session of its own, in autocommit.
        most_refused: refused rows in the run past which the mistake is elsewhere.
        permit: asked before each commit whether the table may be written still.
        pace: a range begins when it allows it, before the target's transaction does.
    """

    def __init__(
        self,
        reader: SnapshotSession,
        target: AsyncConnection,
        run: int,
        *,
        most_refused: int,
        permit: Permit,
        pace: Pace,
    ) -> None:
        self._reader = reader
        self._target = target
        self._run = run
        self._most_refused = most_refused
        self._permit = permit
        self._pace = pace

    async def load(self, route: Route, key_range: KeyRange) -> Loaded:
        """Load a range and mark it complete in the same transaction.

        Raises:
            StoreError: the source failed; nothing of the range is in.
            psycopg.Error: the target failed; nothing of the range is in.
            MigrationError: more rows were refused than `most_refused`.
        """
        async with self._pace.request(in_snapshot=True):
            return await self._load(route, key_range)

    async def _load(self, route: Route, key_range: KeyRange) -> Loaded:
        if route.straight:
            try:
                return await repeated(lambda: self._straight(route, key_range))
            except psycopg.Error as error:
                # 0A000: the table takes no COPY, for its row-level security or since it is a view.
                if not is_row_fault(error) and error.sqlstate != "0A000":
                    raise
                route.straight = False
        try:
            return await repeated(lambda: self._staged(route, key_range))
        except psycopg.Error as error:
            if not is_row_fault(error):
                raise
        # A value that its own type refuses here, such as an infinite numeric from a newer server: as text, any goes in.
        return await repeated(lambda: self._staged(replace(route, straight=False, same=frozenset()), key_range))

    async def _straight(self, route: Route, key_range: KeyRange) -> Loaded:
        async with self._target.transaction(), loading(self._target, self._run, route.table):
            rows = await self._pipe(route, key_range, route.table.identifier)
            transaction = await fetch_value(self._target, "SELECT pg_current_xact_id()::xid::text")
            loaded = Loaded(inserted=rows, rows=rows, transactions={transaction})
            await self._record(route.table, key_range, loaded)
        return loaded

    async def _staged(self, route: Route, key_range: KeyRange) -> Loaded:
        table, number = route.table, sql.Identifier(number_column(route.table))
        async with self._target.transaction(), loading(self._target, self._run, table):
            # A deferred constraint would speak up at the commit, where the row at fault cannot be told.
            await self._target.execute("SET CONSTRAINTS ALL IMMEDIATE")
            await self._target.execute(sql.SQL("{} ON COMMIT DROP").format(create_staging(table, _STAGING, route.same)))
            rows = await self._pipe(route, key_range, sql.Identifier("pg_temp", _STAGING))
            await self._target.execute(
                sql.SQL("CREATE INDEX ON pg_temp.{} ({})").format(sql.Identifier(_STAGING), number)
            )
            if table.key:
                loaded = await load_staged(
                    self._target,
                    table,
                    self._run,
                    step="copy",
                    most_refused=self._most_refused,
                    staging=_STAGING,
                    low=1,
                    high=rows,
                )
            else:
                done = await replace_rows(
                    self._target, table, self._run, _STAGING, step="copy", most_refused=self._most_refused
                )
                loaded = done.loaded
            await self._record(table, key_range, loaded)
        return loaded

    async def _pipe(self, route: Route, key_range: KeyRange, into: sql.Identifier) -> int:
        source = await self._reader.reading(route.table)
        names = sql.SQL(", ").join(map(sql.Identifier, route.table.names))
        form = sql.SQL("(FORMAT binary)" if route.binary else "(FORMAT text)")
        values = sql.SQL(", ").join(
            sql.SQL("{}" if column.name in route.same else "{}::text").format(sql.Identifier(column.name))
            for column in route.table.columns
        )
        rows = sql.SQL("SELECT {} FROM {}{}").format(values, route.source.rows, key_range.condition(route.table))
        return await pipe(
            source,
            sql.SQL("COPY ({}) TO STDOUT {}").format(rows, form),
            self._target,
            sql.SQL("COPY {} ({}) FROM STDIN {}").format(into, names, form),
            self._pace,
            range_of=route.table.name,
        )

    async def _record(self, table: CopyTable, key_range: KeyRange, loaded: Loaded) -> None:
        await finish_range(self._target, self._run, table.name, key_range.number, loaded.rows)
        await record_loaded(self._target, self._run, table.name, loaded)
        await self._permit.confirm(self._target, table.name)
