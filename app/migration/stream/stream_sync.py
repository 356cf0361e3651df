"""A following sync whose changes come by the change stream; what it cannot see is followed by xmin beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from math import inf
from time import monotonic
from typing import Any, ClassVar

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.common.background import end_task
from app.errors import MigrationError, StoreError
from app.migration.progress import Progress
from app.migration.runs.report import Refusal, refusals_of
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Source
from app.migration.stream.applier import Applied, Applier, AuthorityChangedError, OtherRelationError
from app.migration.stream.followed import Applying, BeginAnewError, GivenUpError, Stream
from app.migration.stream.gaps import close_gap, remove
from app.migration.stream.looks import Looks
from app.migration.stream.moments import Moments
from app.migration.stream.options import StreamOptions
from app.migration.stream.row_writer import RowWriter
from app.migration.stream.source.catalog import changed_tables, fingerprints, other_identities
from app.migration.stream.source.lsn import lsn_text, parse_lsn
from app.migration.stream.source.publication import Publication
from app.migration.stream.source.requirements import refuse_missing
from app.migration.stream.source.slot import StreamSlot, stream_name, target_identity
from app.migration.stream.weighing import weigh
from app.migration.sync.direction import Direction
from app.migration.sync.options import SyncOptions
from app.migration.sync.sync_report import SyncRound, TableSynced
from app.migration.sync.syncer import OpenSource, Sync
from app.migration.sync.whole_tables import WholeTables
from app.migration.tables.copy_table import CopyTable
from app.migration.target.target_session import explained
from app.next_step import Command, NextStep
from app.state import streams
from app.state.cutover.moves import open_move
from app.state.runs import quarantine

_PEEKS_APART = 5  # times a peek's own time: each decodes again from the slot's restart_lsn
_HURRIED = 0.1  # seconds between peeks while the bot's writes are held for them
# The slot is gone, or gives nothing any more; or a session is reading it.
_NO_SLOT, _IN_USE = {"42704", "55000"}, "55006"


class StreamSync(Sync):
    """A sync that follows by the change stream, or by xmin where the stream is given up.

    The log is that of one end, and its changes are brought to the other one.
    """

    _end: ClassVar[str] = "source"  # whose log it is
    _command: ClassVar[str] = "--follow --by stream"

    def __init__(
        self,
        open_source: OpenSource,
        target_url: str,
        tables: Sequence[Table],
        progress: Progress,
        options: SyncOptions,
        stream: StreamOptions,
        *,
        stop: asyncio.Event | None = None,
        on_round: Callable[[SyncRound], None] = lambda done: None,
    ) -> None:
        super().__init__(open_source, target_url, tables, progress, options, stop=stop, on_round=on_round)
        self.report.by = "stream"
        self._how = stream
        self._until = stream.until_lsn
        self._peeking: AsyncConnection | None = None
        self._postgres: PostgresSource | None = None
        self._followed: StreamSlot | None = None
        self._run_id = 0

    async def _open(self, ends: AsyncExitStack) -> tuple[Source, AsyncConnection, list[CopyTable], int]:
        source, connection, tables, run = await super()._open(ends)
        assert isinstance(source, PostgresSource)  # the command line sees to it
        self._postgres, self._run_id = await self._open_log(ends, source), run
        with explained("sync", setting=self._postgres.setting, pending="everything of this start"):
            name = await self._name(connection)
            await refuse_missing(self._postgres, name=name, accept_unbounded=self._how.accept_unbounded, end=self._end)
            self._peeking = await ends.enter_async_context(await self._postgres.connect())
        return source, connection, tables, run

    async def _open_log(self, ends: AsyncExitStack, source: PostgresSource) -> PostgresSource:
        """The end whose log it is."""
        return source

    async def _name(self, connection: AsyncConnection) -> str:
        """The stream's."""
        return stream_name(await target_identity(connection))

    async def _rounds(
        self,
        engine: Direction[Any],
        whole: WholeTables | None,
        connection: AsyncConnection,
        tables: Sequence[CopyTable],
    ) -> None:
        assert self._postgres is not None
        while True:
            try:
                with explained("sync", setting=self._postgres.setting, pending="the changes since"):
                    stream = await self._start(engine, whole, connection, tables)
                    if stream is not None:
                        await self._follow(stream, engine, whole, connection)
                    return
            except BeginAnewError as error:
                self._followed = None
                self._progress.notice(str(error))
                await asyncio.sleep(self._how.interval)
                continue
            except GivenUpError as error:
                with explained("sync", setting=self._postgres.setting, pending="to drop the slot and the publication"):
                    await remove(connection, *await self._ends(connection))
                self._progress.notice(str(error))
            self._followed = None
            self.report.by = "xmin"
            await super()._rounds(engine, whole, connection, tables)
            return

    async def _ends(self, connection: AsyncConnection) -> tuple[StreamSlot, Publication]:
        """What the stream has at the source."""
        assert self._postgres is not None
        name = await self._name(connection)
        return StreamSlot(self._postgres, self._peeking, name), Publication(self._postgres, name)

    async def _start(
        self,
        engine: Direction[Any],
        whole: WholeTables | None,
        connection: AsyncConnection,
        tables: Sequence[CopyTable],
    ) -> Stream | None:
        """The stream, with no gap before it; None where it was stopped.

        Raises:
            GivenUpError: no table can be followed by one.
        """
        assert self._postgres is not None
        source = self._postgres
        slot, publication = await self._ends(connection)
        name = slot.name
        found = await publication.publish(tables)
        for table, reason in found.left.items():
            self._progress.notice(f"{table} is followed by its rows' versions: {reason}")
        chosen = await self._chosen(connection, found.tables)
        if not chosen:
            raise GivenUpError("no table can be followed by the change stream; all are followed by rows' versions")
        rest = [table for table in tables if table not in chosen]
        server, published = await slot.server(), await publication.fingerprint()
        prints = await fingerprints(source, chosen)
        reverse = self._options.reverse
        known = next(iter(await streams.read_streams(connection, name, reverse=reverse)), None)
        why = await close_gap(
            connection,
            slot,
            known,
            source=source.label,
            server=server,
            publication=published,
            prints=prints,
            tell=self._progress.notice,
            reverse=reverse,
        )
        if why is None:
            assert known is not None
            lsn, settled = parse_lsn(known.lsn), parse_lsn(known.settled_lsn or "0/0")
            await streams.keep_tables(connection, name, prints)
            self._progress.notice(f"by the change stream, from {known.lsn} on ({name})")
            self._tell_round([], 0.0)  # from here on it waits for an end that is away
        else:
            self._progress.notice(f"by the change stream ({name}); first a sync by rows' versions, since {why}")
            if not await self._xmin_round(engine, whole, connection, tables):
                return None
            settled = await slot.flushed()
            await streams.settle_stream(connection, name, lsn_text(settled))
            lsn = parse_lsn((await streams.read_streams(connection, name, reverse=reverse))[0].lsn)
        done: dict[str, TableSynced] = {}
        mirrored = [] if reverse else chosen
        moments = Moments(connection, mirrored)
        looks = Looks(connection, source.label, slot, mirrored, self._options)
        applier = await self._applier(connection, engine, slot, moments, settled, chosen, done)
        await looks.begin()
        if self._how.until_now and self._until is None:
            await asyncio.sleep(await slot.flushed_after())
            self._until = await slot.flushed()
        return Stream(
            slot, publication, applier, moments, chosen, rest, published, prints, lsn, done, looks, until=self._until
        )

    async def _applier(
        self,
        connection: AsyncConnection,
        engine: Direction[Any],
        slot: StreamSlot,
        moments: Moments,
        settled: int,
        tables: Sequence[CopyTable],
        done: dict[str, TableSynced],
    ) -> Applying:
        """What brings changes to the other end."""
        assert self._postgres is not None
        writer = RowWriter(connection, self._postgres, slot, self._run_id, self._options)
        writer.settled_lsn = settled
        schemas, permit = self._postgres.schemas, self._options.permit
        return Applier(connection, writer, moments, slot.name, permit, tables, schemas, done)

    async def _chosen(self, connection: AsyncConnection, published: Sequence[CopyTable]) -> list[CopyTable]:
        """Those that may be written now."""
        permitted = await self._permitted(connection, [table.name for table in published])
        return [table for table in published if table.name in permitted]

    async def _xmin_round(
        self,
        engine: Direction[Any],
        whole: WholeTables | None,
        connection: AsyncConnection,
        tables: Sequence[CopyTable],
    ) -> bool:
        """A round by xmin; False where it was stopped."""
        began = monotonic()
        working = asyncio.ensure_future(self._round(engine, whole, connection, tables))
        if not await self._unless_stopped(working):
            self.report.interrupted = True
            return False
        self._tell_round(working.result(), monotonic() - began)
        return True

    def _tell_round(self, done: Sequence[TableSynced], lag: float) -> None:
        told = SyncRound(self.report.rounds + 1, tuple(done), lag)
        self.report.add(told)
        self._on_round(told)

    async def _follow(
        self, stream: Stream, engine: Direction[Any], whole: WholeTables | None, connection: AsyncConnection
    ) -> None:
        """Apply changes until it is stopped, or has come to its end.

        Raises:
            BeginAnewError: something has changed that only a new start takes in.
            GivenUpError: go on by xmin.
        """
        self._followed = stream.slot
        while True:
            began = monotonic()
            working = asyncio.ensure_future(self._step(stream))
            if not await self._unless_stopped(working):
                await self._tell(stream, connection, is_last=True)
                return
            more, upto = working.result()
            is_last = stream.until is not None and not more and upto >= stream.until
            if more:
                await stream.looks.passed(stream.position)
            else:
                await stream.looks.passed(upto, inf if is_last and self._how.until_now else began)
            await stream.looks.begin()
            if is_last or (stream.told.due(self._options.interval) and not stream.looks.hurried):
                if stream.rest and not await self._xmin_round(engine, whole, connection, stream.rest):
                    return
                await self._tell(stream, connection, is_last=is_last)
            if is_last or stream.checked.due(self._how.check_interval):
                checking = asyncio.ensure_future(self._check_catalog(stream, connection))
                if not await self._unless_stopped(checking):
                    await self._tell(stream, connection, is_last=True)
                    return
                checking.result()
            if is_last:
                return
            if stream.confirmed.due(self._how.idle_interval) and not more and upto > stream.position:
                await streams.note_applied(connection, stream.slot.name, lsn_text(upto))
                stream.position = upto
                await stream.slot.advance(upto)
            if stream.weighed.due(self._how.idle_interval):
                look = await weigh(stream.slot, self._how.most_held, self._end)
                to_come = max(0, await stream.slot.flushed() - max(stream.position, stream.seen or 0))
                await streams.note_weighed(connection, stream.slot.name, held=look.held, to_come=to_come)
            wait = 0.0 if more else max(self._how.interval, _PEEKS_APART * stream.slot.peek_seconds)
            if await self._rested(wait, stream, connection):
                bringing = asyncio.ensure_future(self._bring_rest(stream, connection))
                if await self._unless_stopped(bringing):
                    bringing.result()
                await self._tell(stream, connection, is_last=True)
                return

    async def _bring_rest(self, stream: Stream, connection: AsyncConnection) -> None:
        """What had been committed when it was stopped, so that a person who stopped the writers before has it all."""
        with suppress(BeginAnewError):  # which the next start takes in
            await asyncio.sleep(await stream.slot.flushed_after())
            until = await stream.slot.flushed()
            more = True
            while more:
                more, _ = await self._step(stream)
            await self._check_catalog(stream, connection)
            self._progress.notice(f"all that was committed when this was stopped has come, up to {lsn_text(until)}")

    async def _unless_stopped(self, working: asyncio.Future[Any]) -> bool:
        """As any sync waits; a slot that is followed is weighed while a pause holds the work."""
        waiting = asyncio.ensure_future(super()._unless_stopped(working))
        try:
            while not waiting.done():
                await asyncio.wait({waiting}, timeout=self._how.idle_interval)
                if self._followed is not None and self._pace.is_held and not waiting.done():
                    await weigh(self._followed, self._how.most_held, self._end)
            return waiting.result()
        finally:
            await end_task(waiting)

    async def _rested(self, seconds: float, stream: Stream, connection: AsyncConnection) -> bool:
        """Wait for the next peek, briefly while a move of the stage waits for the stream; whether it was stopped."""
        until = monotonic() + seconds
        while True:
            is_awaited = bool(stream.moments.mirrored) and await open_move(connection) is not None
            stream.looks.hurried = is_awaited
            left = max(0.0, until - monotonic())
            wait = min(left, _HURRIED if is_awaited else self._how.interval)
            if await self._stopped_within(wait):
                return True
            if is_awaited or left <= wait:
                return False

    async def _step(self, stream: Stream) -> tuple[bool, int]:
        """One peek, applied and confirmed; whether there is more at once, and up to where it looked."""
        await self._pace.ready()  # nothing is begun while it is paused
        taken = await stream.moments.take()
        upto, end = await stream.slot.places()
        stream.moments.place(taken, end)
        if upto == stream.seen:
            return False, upto
        try:
            applied = await self._peeked(stream, upto)
        except AuthorityChangedError as error:
            raise BeginAnewError(f"{error}: who writes it has changed") from None
        except OtherRelationError as error:
            await self._peeked(stream, upto, before=error.before)
            if not error.columns:
                raise BeginAnewError(f"the replica identity of {error.table} has changed") from None
            raise self._changed([error.table], stream) from None
        except StoreError as error:
            if error.sqlstate == _IN_USE:
                if not stream.is_busy:
                    self._progress.notice(f"another session is reading the slot {stream.slot.name}; trying again")
                stream.is_busy = True
                await asyncio.sleep(self._how.interval)
                return True, upto
            if error.sqlstate in _NO_SLOT:
                raise BeginAnewError(f"the slot {stream.slot.name} gives no changes any more") from None
            raise
        more = applied.messages >= self._how.most_messages
        stream.seen = stream.seen if more else upto
        return more, upto

    async def _peeked(self, stream: Stream, upto: int, before: int | None = None) -> Applied:
        peek = stream.slot.peek(upto=upto, most=self._how.most_messages)
        async with aclosing(peek) as parts:
            applied = await stream.applier.apply(parts, after=stream.position, before=before)
        stream.lags += applied.lags
        stream.looks.unexplained |= applied.unexplained
        if applied.lsn is not None:
            stream.position = applied.lsn
            stream.confirmed.begin()
            await stream.slot.advance(stream.position)
        return applied

    async def _check_catalog(self, stream: Stream, connection: AsyncConnection) -> None:
        """See whether the source's tables are as they were, can be published as before."""
        assert self._postgres is not None
        prints = await fingerprints(self._postgres, stream.tables)
        if changed := changed_tables(stream.prints, prints):
            await self._step(stream)
            raise self._changed(changed, stream)
        if other_identities(stream.prints, prints):
            raise BeginAnewError(f"a replica identity has changed at the {self._end}")
        if stream.prints != prints:
            await streams.keep_tables(connection, stream.slot.name, prints)
            stream.prints = prints
        published = (await stream.publication.look([*stream.tables, *stream.rest])).tables
        chosen = {one.name for one in await self._chosen(connection, published)}
        if chosen != set(prints) or await stream.publication.fingerprint() != stream.published:
            raise BeginAnewError("other tables can be followed by the change stream than before")

    def _changed(self, tables: Sequence[str], stream: Stream) -> MigrationError:
        return MigrationError(
            f"the {self._end}'s tables {', '.join(tables)} were changed; the stream stops at "
            f"{lsn_text(stream.position)}",
            step="sync",
            table=tables[0] if len(tables) == 1 else None,
            done="all transactions before it",
            pending="the changes since",
            next_step=NextStep(
                f"change the {'source' if self._options.reverse else 'target'}'s tables in the same way (",
                Command("preflight"),
                " compares them), then: ",
                Command("sync", self._command),
            ),
        )

    async def _refusals(self, connection: AsyncConnection, table: CopyTable) -> tuple[Refusal, ...]:
        """The rows of a table that are refused now."""
        return refusals_of(table, await quarantine.refusals(connection, table.name))

    async def _tell(self, stream: Stream, connection: AsyncConnection, *, is_last: bool = False) -> None:
        """Tell what was applied since it was last told, as a round; the last one is of all tables."""
        stream.told.begin()
        told = []
        for table in stream.tables:
            done = stream.done.get(table.name)
            if done is not None or is_last:
                done = done or TableSynced(table.name, keys_only=table.keys_only)
                done.refused = await self._refusals(connection, table)
                told.append(done)
        if told:
            self._tell_round(told, max(stream.lags, default=0.0))
        stream.done.clear()
        stream.lags.clear()
