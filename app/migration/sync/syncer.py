"""Bringing one side to the other's present state, once or round after round, while the bot goes on writing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import Any, ClassVar

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.common.deadlines import happens
from app.errors import MigrationError
from app.migration.load.refusals import refuse_distributed
from app.migration.load.table_authority import TableMovedError, in_words, read_authority
from app.migration.sources.moved_tables import choose_moved
from app.migration.sources.pace import Pace
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.rest.text_settings import require_readable_texts
from app.migration.sources.source import Progress, Source
from app.migration.sync import sync_run
from app.migration.sync.direction import Direction
from app.migration.sync.forward import ForwardSync
from app.migration.sync.options import SyncOptions
from app.migration.sync.reverse import ReverseSync
from app.migration.sync.source_writers import PostgresWriter, RestWriter, SourceWriter
from app.migration.sync.sync_report import SyncReport, SyncRound, TableSynced
from app.migration.sync.whole_tables import refuse_way_back
from app.migration.tables.copy_table import CopyTable, name_of
from app.migration.target.followed_sequences import follow_source
from app.migration.target.foreign_keys import prove, without_foreign_keys
from app.migration.target.materialized_views import refresh, stale_views
from app.migration.target.target_session import explained, open_target
from app.next_step import Command, NextStep
from app.state import streams
from app.state.runs import writes
from app.state.tool_schema import ensure_tool_schema, is_current
from app.stores.postgres.session import refuse_transaction_pooler

OpenSource = Callable[[], AbstractAsyncContextManager[Source]]

_MOST_ROUNDS_BACK = 3  # of a sync --reverse that is to end
_LONGEST_WAIT = 30.0  # seconds between tries to reach a store that is away
_GRACE = 5.0  # seconds that a round may take to end once it is to stop
_BETWEEN_MOVES = 0.5  # seconds before a round that a move has interrupted is begun anew


class Sync:
    """A sync of some tables, in one direction.

    Args:
        open_source: opens the source; called again when a following sync lost one of the ends.
        stop: when it is set, the sync ends with its report.
        on_round: told of each round.
    """

    _back: ClassVar[type[ReverseSync]] = ReverseSync

    def __init__(
        self,
        open_source: OpenSource,
        target_url: str,
        tables: Sequence[Table],
        progress: Progress,
        options: SyncOptions,
        *,
        stop: asyncio.Event | None = None,
        on_round: Callable[[SyncRound], None] = lambda done: None,
    ) -> None:
        self._open_source = open_source
        self._target_url = target_url
        self._tables = tables
        self._progress = progress
        self._options = options
        self._stop = stop or asyncio.Event()
        self._on_round = on_round
        self._quiet = 0
        self._before: SyncRound | None = None
        self._is_connected = False
        self._pace = Pace()  # the source's, once it is open
        self._left_out: dict[str, str] = {}
        self._brought: set[str] = set()
        self.report = SyncReport(None, options.reverse, options.dry_run)

    async def run(self) -> SyncReport:
        """Bring the side up to date, once or as the options say.

        Raises:
            MigrationError: it stopped; what was brought is kept, and the same command goes on.
        """
        began = monotonic()
        failures = 0
        has_begun = False
        while True:
            rounds = self.report.rounds
            self._is_connected = False
            try:
                await self._connected()
                break
            except MigrationError as error:
                # Once it has had both ends, it waits for those that cannot be opened, whatever they say.
                passing = sync_run.may_pass(error) or not self._is_connected
                has_begun = has_begun or self._is_connected
                if not (self._options.follow and has_begun and passing):
                    raise
                failures = failures + 1 if self.report.rounds == rounds else 1
                wait = min(_LONGEST_WAIT, self._options.interval * 2 ** min(failures, 10))
                self._progress.notice(f"{error.message}; trying again in {wait:.0f} s")
                if await self._stopped_within(wait):
                    break
        self.report.seconds = monotonic() - began
        return self.report

    async def _connected(self) -> None:
        """Rounds over one connection to each end."""
        options = self._options
        async with AsyncExitStack() as ends:
            opening = asyncio.ensure_future(self._open(ends))
            if not await self._unless_stopped(opening):
                self.report.interrupted = True
                return
            source, connection, tables, run = opening.result()
            async with self._without_foreign_keys(connection, run, tables):
                engine = self._engine(ends, connection, source, run)
                await self._rounds(engine, connection, tables)
            # One that is stopped while it is paused ends at once, and leaves the sequences to the next.
            if not options.dry_run and not (self.report.interrupted and self._pace.is_paused):
                done, pending = "the rounds", "the sequences, and to note that the run has ended"
                with explained("sync", setting=source.setting, done=done, pending=pending):
                    if isinstance(engine, ReverseSync):
                        self.report.by_hand = await engine.raise_sequences(tables)
                    else:
                        self.report.not_usable, self.report.not_seen = await follow_source(connection, source, tables)
                        if options.until_clean and not self.report.interrupted:
                            self.report.not_usable += await refresh(connection, tables, self._progress, stale=True)
                        elif any(table.changed for table in self.report.tables.values()):
                            self.report.not_usable += await stale_views(connection, tables)
                    if not self.report.interrupted:
                        brought = options.overwrite and not options.reverse
                        adopted = [table for table in tables if brought and table.name in self.report.tables]
                        await sync_run.finish(connection, run, adopted)

    async def _open(self, ends: AsyncExitStack) -> tuple[Source, AsyncConnection, list[CopyTable], int]:
        """Both ends, the tables, and the run's id."""
        options = self._options
        source = await ends.enter_async_context(self._open_source())
        self._pace = source.pace
        if options.reverse and isinstance(source, PostgresSource):
            await refuse_transaction_pooler(source.url, setting=source.setting, step="sync")
        target = open_target(self._target_url, step="sync", exclusive=not options.dry_run)
        connection = await ends.enter_async_context(target)
        self._is_connected = True
        with explained("sync", setting=source.setting, pending="what has changed since the last round"):
            permitted = await self._permitted(connection, [name_of(table) for table in self._tables])
            await refuse_distributed(connection, self._tables, step="sync")
            moved, not_moved = await choose_moved(connection, source, self._tables, self._progress, step="sync")
            self.report.not_moved = not_moved
            tables = [
                await sync_run.describe_versions(connection, source, t, self._progress, reverse=options.reverse)
                for t in moved
            ]
            if options.reverse:
                refuse_way_back(tables)
            if isinstance(source, RestSource):
                await require_readable_texts(source, tables, self._progress.notice, step="sync")
            if options.dry_run and not await is_current(connection):
                await ends.enter_async_context(connection.transaction(force_rollback=True))  # leaves no schema behind
            await ensure_tool_schema(connection)
            if not options.reverse:
                await sync_run.refuse_taken_out(connection, [table.name for table in tables])
            if self.report.by == "xmin" and not options.dry_run:
                for stream in await streams.read_streams(connection, reverse=None):
                    end = "target" if stream.reverse else "source"
                    self._progress.notice(f"nobody reads the slot {stream.name} at the {end}: botdata stream drop")
            run = await sync_run.begin(connection, source, [t for t in tables if t.name in permitted], options)
        self.report.run = run
        return source, connection, tables, run

    @asynccontextmanager
    async def _without_foreign_keys(
        self, connection: AsyncConnection, run: int, tables: Sequence[CopyTable]
    ) -> AsyncIterator[None]:
        """The target's foreign keys are away while it is written to, between the rounds of a following sync too."""
        if self._options.reverse or self._options.dry_run:
            yield
            if not self._options.dry_run:
                with explained("sync", done="the rounds", pending="to prove the target's foreign keys"):
                    self.report.broken = await prove(connection, tables)
            return
        async with without_foreign_keys(connection, run, tables, step="sync") as broken:
            yield
        self.report.broken = broken

    async def _permitted(self, connection: AsyncConnection, names: Sequence[str]) -> set[str]:
        """The tables that may be written now; those left out are told, once until they are others.

        Raises:
            MigrationError: one that was named may not be, or none may.
        """
        permit, authority = self._options.permit, await read_authority(connection)
        permit.refuse_moved_out(authority)
        refused = permit.refusals(authority, names)
        if self._options.dry_run and (self._options.named or not authority.managed):
            return set(names)
        useless = len(refused) == len(names) and not (self._options.follow or self._options.dry_run)
        if useless or self._options.named or not authority.managed:
            permit.refuse(authority, names)
        if refused != self._left_out:
            self._left_out = refused
            why = f"left out, since {permit.into.label} is their store: {in_words(refused)}"
            self._progress.notice(why if refused else "no table is left out")
        return {name for name in names if name not in refused}

    async def _round(
        self, engine: Direction[Any], connection: AsyncConnection, tables: Sequence[CopyTable]
    ) -> list[TableSynced]:
        """One round over the tables that may be written; begun anew where the authority of one moves meanwhile."""
        while True:
            with explained("sync", pending="everything of this round; nothing of it was written"):
                permitted = await self._permitted(connection, [table.name for table in tables])
            try:
                chosen = [table for table in tables if table.name in permitted]
                done = await engine.round(chosen)
                await self._note_brought(connection, chosen)
                return sorted(done, key=lambda one: [table.name for table in chosen].index(one.table))
            except TableMovedError as error:
                self._progress.notice(error.message)
                await asyncio.sleep(_BETWEEN_MOVES)

    async def _note_brought(self, connection: AsyncConnection, tables: Sequence[CopyTable]) -> None:
        """Rows that a mirror writes later into a table that came empty are not taken for somebody else's."""
        names = [table.name for table in tables if table.name not in self._brought]
        run = self.report.run
        if names and run is not None and not (self._options.dry_run or self._options.reverse):
            with explained("sync", pending="to note that the round's tables were brought over"):
                await writes.note_brought(connection, run, names)
            self._brought.update(names)

    async def _rounds(self, engine: Direction[Any], connection: AsyncConnection, tables: Sequence[CopyTable]) -> None:
        while True:
            began = monotonic()
            working = asyncio.ensure_future(self._round(engine, connection, tables))
            if not await self._unless_stopped(working):
                self.report.interrupted = True
                return
            done = SyncRound(self.report.rounds + 1, tuple(working.result()), monotonic() - began)
            before, self._before = self._before, done
            self.report.add(done)
            self._on_round(done)
            interval = self._options.interval if self._options.is_repeated else 0
            if self._is_last(done, before) or await self._stopped_within(interval):
                return

    def _engine(
        self, ends: AsyncExitStack, connection: AsyncConnection, source: Source, run: int
    ) -> ForwardSync | ReverseSync:
        if not self._options.reverse:
            return ForwardSync(connection, source, run, self._options, self._progress)
        if isinstance(source, RestSource):
            writer: SourceWriter = RestWriter(source)
        else:
            assert isinstance(source, PostgresSource)
            writer = PostgresWriter(source.url, source.limits)
            ends.push_async_callback(writer.close)
        return self._back(connection, source, writer, run, self._options, self._progress)

    def _is_last(self, done: SyncRound, before: SyncRound | None) -> bool:
        self._quiet = self._quiet + 1 if done.quiet or done.repeats(before) else 0
        if self._options.follow:
            return self._stop.is_set()
        if self._options.dry_run:
            return True
        if not self._options.until_clean:
            # What the source's own triggers and foreign keys make of a write shows in the next round.
            return not self._options.reverse or self._quiet > 0 or self.report.rounds >= _MOST_ROUNDS_BACK
        if self._quiet < 2 and self.report.rounds >= self._options.most_rounds:
            raise MigrationError(
                f"{self.report.rounds} rounds went by and there were changes still: something goes on writing",
                step="sync",
                done="every change found so far",
                pending="the changes since",
                next_step=NextStep("stop the bot, and what else writes there, then: ", Command("sync")),
            )
        return self._quiet >= 2

    async def _unless_stopped(self, working: asyncio.Future[Any]) -> bool:
        """Wait for a round, or for the ends; False where it was stopped in the middle, which leaves nothing half."""
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await asyncio.wait({working}, timeout=0 if self._pace.is_held else _GRACE)
            return working.done()
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)

    async def _stopped_within(self, seconds: float) -> bool:
        with self._pace.resting():
            return await happens(self._stop, seconds)
