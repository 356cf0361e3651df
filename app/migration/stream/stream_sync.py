"""A following sync whose changes come by the change stream; what it cannot see is followed by xmin beside it."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any, TypeVar

from psycopg import AsyncConnection

from app.common.background import end_task
from app.migration.runs.report import Refusal, refusals_of
from app.migration.stream.followed import BeginAnewError, FollowedStream, GivenUpError, weigh
from app.migration.stream.removal import leave_nothing
from app.migration.stream.source.slot import lsn_text
from app.migration.stream.stream_start import StreamStart
from app.migration.sync.direction import Direction
from app.migration.sync.sync_report import TableSynced
from app.migration.tables.copy_table import CopyTable
from app.migration.target.target_session import explained
from app.state import streams
from app.state.cutover.moves import open_move
from app.state.runs import quarantine

_Answer = TypeVar("_Answer")
_PEEKS_APART = 5  # times a peek's own time: each decodes again from the slot's restart_lsn
_HURRIED = 0.1  # seconds between peeks while the bot's writes are held for them


class _CutOffError(Exception):
    """A stop ended the following in the middle of something."""


class StreamSync(StreamStart):
    """A sync that follows by the change stream, or by xmin where the stream is given up.

    The log is that of one end, and its changes are brought to the other one.
    """

    async def _rounds(
        self,
        engine: Direction[Any],
        connection: AsyncConnection,
        tables: Sequence[CopyTable],
    ) -> None:
        while True:
            try:
                with explained("sync", setting=self._log.setting, pending="the changes since"):
                    stream = await self._start(engine, connection, tables)
                    if stream is not None:
                        with suppress(_CutOffError):
                            await self._follow(stream, engine)
                    return
            except BeginAnewError as error:
                self._followed = None
                self._progress.notice(str(error))
                await asyncio.sleep(self._how.interval)
                continue
            except GivenUpError as error:
                with explained("sync", setting=self._log.setting, pending="to drop the slot and the publication"):
                    await leave_nothing(connection, *await self._ends(connection))
                self._progress.notice(str(error))
            self._followed = None
            self.report.by = "xmin"
            await super()._rounds(engine, connection, tables)
            return

    async def _follow(self, stream: FollowedStream, engine: Direction[Any]) -> None:
        """Apply changes until it is stopped, or has come to its end.

        Raises:
            BeginAnewError: something has changed that only a new start takes in.
            GivenUpError: go on by xmin.
            _CutOffError: it was stopped in the middle of something.
        """
        self._followed = stream.slot
        while True:
            began = monotonic()
            more, upto = await self._whole(stream.step(), stream)
            is_last = stream.until is not None and not more and upto >= stream.until
            if more:
                await stream.looks.passed(stream.position)
            else:
                await stream.looks.passed(upto, inf if is_last and self._how.until_now else began)
            await stream.looks.begin()
            if is_last or (stream.told.due(self._options.interval) and not stream.looks.hurried):
                rest = stream.at_the_end if is_last else stream.rest
                if rest and not await self._xmin_round(engine, stream.connection, rest):
                    return
                await self._tell(stream, is_last=is_last)
            if is_last or stream.checked.due(self._how.check_interval):
                await self._whole(stream.check_catalog(), stream)
            if is_last:
                return
            await stream.confirm_idle(upto, more=more)
            await stream.weigh()
            wait = 0.0 if more else max(self._how.interval, _PEEKS_APART * stream.slot.peek_seconds)
            if await self._rested(wait, stream):
                await self._whole(self._bring_rest(stream, engine), stream)
                await self._tell(stream, is_last=True)
                return

    async def _whole(self, work: Coroutine[Any, Any, _Answer], stream: FollowedStream) -> _Answer:
        """Carry work out.

        Raises:
            _CutOffError: a stop came in the middle of it, and that is told.
        """
        working = asyncio.create_task(work)
        if not await self._unless_stopped(working):
            self.report.interrupted = True
            await self._tell(stream, is_last=True)
            raise _CutOffError
        return working.result()

    async def _bring_rest(self, stream: FollowedStream, engine: Direction[Any]) -> None:
        """What had been committed when it was stopped, so that a person who stopped the writers before has it all."""
        try:
            until = await stream.catch_up()
            if stream.at_the_end:
                began = monotonic()
                done = await self._round(engine, stream.connection, stream.at_the_end)
                self._tell_round(done, monotonic() - began)
            await stream.check_catalog()
        except BeginAnewError as error:  # the next start takes it in
            self.report.interrupted = True
            self._progress.notice(str(error))
        else:
            self._progress.notice(f"all that was committed when this was stopped has come, up to {lsn_text(until)}")

    async def _unless_stopped(self, working: asyncio.Future[Any]) -> bool:
        """As any sync waits; a slot that is followed is weighed while a pause holds the work."""
        waiting = asyncio.create_task(super()._unless_stopped(working))
        try:
            while not waiting.done():
                await asyncio.wait({waiting}, timeout=self._how.idle_interval)
                if self._followed is not None and self._pace.is_held and not waiting.done():
                    await weigh(self._followed, self._how.most_held, self._end)
            return waiting.result()
        finally:
            await end_task(waiting)

    async def _rested(self, seconds: float, stream: FollowedStream) -> bool:
        """Wait for the next peek, briefly while a move of the stage waits for the stream; whether it was stopped."""
        until = monotonic() + seconds
        while not self._stop.is_set():
            is_awaited = bool(stream.moments.mirrored) and await open_move(stream.connection) is not None
            stream.looks.hurried = is_awaited
            left = max(0.0, until - monotonic())
            wait = min(left, _HURRIED if is_awaited else self._how.interval)
            if not await self._stopped_within(wait) and (is_awaited or left <= wait):
                return False
        return True

    async def _refusals(self, connection: AsyncConnection, table: CopyTable) -> tuple[Refusal, ...]:
        """The rows of a table that are refused now."""
        return refusals_of(table, await quarantine.refusals(connection, table.name))

    async def _left(self, connection: AsyncConnection, table: CopyTable) -> int:
        """Rows in quarantine that stay at the end that they came from."""
        return 0

    async def _tell(self, stream: FollowedStream, *, is_last: bool) -> None:
        """Tell what was applied since it was last told, as a round; the last one is of all tables."""
        stream.told.begin()
        told = []
        for table in stream.tables:
            done = stream.done.get(table.name)
            if done is not None or is_last:
                done = done or TableSynced(table.name, keys_only=table.keys_only)
                done.refused = await self._refusals(stream.connection, table)
                done.left = await self._left(stream.connection, table)
                # Where the stream brings more, what differed after the first sync had only been changing.
                if not done.changed or (is_last and table in stream.at_the_end):
                    done.unsettled = self.report.tables.get(table.name, done).unsettled
                told.append(done)
        if is_last and any(done.unsettled for done in told):  # the next start looks again
            await streams.unsettle_stream(stream.connection, stream.slot.name)
        if told:
            self._tell_round(told, max(stream.lags, default=0.0))
        stream.done.clear()
        stream.lags.clear()
