"""The start of a sync by the change stream: both ends are opened, and what may be missing comes by xmin."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any, ClassVar

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.postgres.silent_changes import values_stand
from app.migration.sources.source import Progress, Source
from app.migration.stream.applier import Applier
from app.migration.stream.followed import Applying, FollowedStream, GivenUpError
from app.migration.stream.looks import StreamLooks
from app.migration.stream.moments import Moments
from app.migration.stream.options import FollowOptions
from app.migration.stream.row_writer import RowWriter
from app.migration.stream.source.gaps import close_gap
from app.migration.stream.source.publication import Publication, oids_of
from app.migration.stream.source.requirements import refuse_missing
from app.migration.stream.source.slot import StreamSlot, lsn_text, parse_lsn, stream_name, target_identity
from app.migration.stream.source.table_fingerprints import fingerprints
from app.migration.sync.direction import Direction
from app.migration.sync.options import SyncOptions
from app.migration.sync.sync_report import SyncRound, TableSynced
from app.migration.sync.syncer import OpenSource, Sync
from app.migration.tables.copy_table import CopyTable
from app.migration.target.interference import find_writers
from app.migration.target.target_session import explained
from app.state import streams


class StreamStart(Sync):
    """A sync that can begin to follow the change stream of one end; `StreamSync` goes on from there."""

    # Once both ends are open.
    _source: PostgresSource
    _log: PostgresSource  # the end whose log it is
    _end: ClassVar[str] = "source"  # that, in a word
    _command: ClassVar[str] = "--follow --by stream"

    def __init__(
        self,
        open_source: OpenSource,
        target_url: str,
        tables: Sequence[Table],
        progress: Progress,
        options: SyncOptions,
        stream: FollowOptions,
        *,
        stop: asyncio.Event | None = None,
        on_round: Callable[[SyncRound], None] = lambda done: None,
    ) -> None:
        super().__init__(open_source, target_url, tables, progress, options, stop=stop, on_round=on_round)
        self.report.by = "stream"
        self._how = stream
        self._until = stream.until_lsn
        self._peeking: AsyncConnection | None = None
        self._followed: StreamSlot | None = None
        self._run_id = 0

    async def _open(self, ends: AsyncExitStack) -> tuple[Source, AsyncConnection, list[CopyTable], int]:
        source, connection, tables, run = await super()._open(ends)
        assert isinstance(source, PostgresSource)  # the command line sees to it
        self._source = source
        self._log, self._run_id = await self._open_log(ends, source), run
        with explained("sync", setting=self._log.setting, pending="everything of this start"):
            name = await self._name(connection)
            await refuse_missing(self._log, name=name, accept_unbounded=self._how.accept_unbounded, end=self._end)
            self._peeking = await ends.enter_async_context(await self._log.connect())
        return source, connection, tables, run

    async def _open_log(self, ends: AsyncExitStack, source: PostgresSource) -> PostgresSource:
        """The end whose log it is."""
        return source

    async def _name(self, connection: AsyncConnection) -> str:
        """The stream's."""
        return stream_name(await target_identity(connection))

    async def _ends(self, connection: AsyncConnection) -> tuple[StreamSlot, Publication]:
        """What the stream has at the source."""
        name = await self._name(connection)
        return StreamSlot(self._log, self._peeking, name), Publication(self._log, name)

    async def _start(
        self,
        engine: Direction[Any],
        connection: AsyncConnection,
        tables: Sequence[CopyTable],
    ) -> FollowedStream | None:
        """The stream, with no gap before it; None where it was stopped.

        Raises:
            GivenUpError: no table can be followed by one.
        """
        source, read = self._log, self._source
        slot, publication = await self._ends(connection)
        name = slot.name
        found = await publication.publish(tables)
        for table, reason in found.left.items():
            self._progress.notice(f"{table} is followed by its rows' versions: {reason}")
        chosen = await self._chosen(connection, found.tables)
        if not chosen:
            raise GivenUpError("no table can be followed by the change stream; all are followed by rows' versions")
        rest = [table for table in tables if table not in chosen]
        writers = await find_writers(connection, [] if self._options.reverse else rest)
        for writer in writers:
            self._progress.notice(f"{writer} fires: its table is followed by its rows' versions, which are read back")
        server, published = await slot.server(), await publication.fingerprint()
        prints = await fingerprints(source, chosen)
        reverse = self._options.reverse
        known = next(iter(await streams.read_streams(connection, name, reverse=reverse)), None)
        reshaped = [one.name for one in chosen if not await values_stand(connection, read, one, dry_run=True)]
        why = await close_gap(
            connection,
            slot,
            known,
            source=source.label,
            server=server,
            publication=published,
            prints=prints,
            reshaped=reshaped,
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
            if not await self._xmin_round(engine, connection, tables):
                return None
            settled = await slot.flushed()
            await streams.settle_stream(connection, name, lsn_text(settled))
            lsn = parse_lsn((await streams.read_streams(connection, name, reverse=reverse))[0].lsn)
        done: dict[str, TableSynced] = {}
        mirrored = [] if reverse else chosen
        moments = Moments(connection, mirrored)
        looks = StreamLooks(connection, source.label, slot, mirrored, self._options)
        oids = await oids_of(source, chosen)
        applier = await self._applier(connection, engine, slot, moments, settled, oids, done)
        await looks.begin()
        if self._how.until_now and self._until is None:
            await asyncio.sleep(await slot.flushed_after())
            self._until = await slot.flushed()
        elif self._until is not None and self._until > (end := (await slot.places())[1]):
            self._progress.notice(
                f"the {self._end}'s log ends at {lsn_text(end)}, before --until-lsn; waiting until it is there"
            )
        return FollowedStream(
            connection=connection,
            log=source,
            end=self._end,
            command=self._command,
            how=self._how,
            progress=self._progress,
            choose=self._chosen,
            slot=slot,
            publication=publication,
            applier=applier,
            moments=moments,
            tables=chosen,
            rest=rest,
            at_the_end=[*rest, *chosen] if writers else rest,
            published=published,
            prints=prints,
            position=lsn,
            done=done,
            looks=looks,
            until=self._until,
        )

    async def _applier(
        self,
        connection: AsyncConnection,
        engine: Direction[Any],
        slot: StreamSlot,
        moments: Moments,
        settled: int,
        tables: Mapping[int, CopyTable],
        done: dict[str, TableSynced],
    ) -> Applying:
        """What brings changes to the other end."""
        writer = RowWriter(connection, self._log, slot, self._run_id, self._options, settled)
        schemas, permit = self._log.schemas, self._options.permit
        return Applier(connection, writer, moments, slot.name, permit, tables, schemas, done)

    async def _chosen(self, connection: AsyncConnection, published: Sequence[CopyTable]) -> list[CopyTable]:
        """Those that may be written now, and of which nothing at the target changes what is written."""
        permitted = await self._permitted(connection, [table.name for table in published])
        chosen = [table for table in published if table.name in permitted]
        if self._options.reverse:  # there, what was written is read back
            return chosen
        return [table for table in chosen if not await find_writers(connection, [table])]

    async def _xmin_round(
        self,
        engine: Direction[Any],
        connection: AsyncConnection,
        tables: Sequence[CopyTable],
    ) -> bool:
        """A round by xmin; False where it was stopped."""
        began = monotonic()
        working = asyncio.create_task(self._round(engine, connection, tables))
        if not await self._unless_stopped(working):
            self.report.interrupted = True
            return False
        self._tell_round(working.result(), monotonic() - began)
        return True

    def _tell_round(self, done: Sequence[TableSynced], lag: float) -> None:
        told = SyncRound(self.report.rounds + 1, tuple(done), lag)
        self.report.add(told)
        self._on_round(told)
