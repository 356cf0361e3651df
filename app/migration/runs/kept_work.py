"""What a command keeps in the target while it works, for whoever asks: its pace and its progress.

Its pace follows the pause that somebody asked for there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic

import psycopg
from psycopg import AsyncConnection

from app.common.background import end_task
from app.common.deadlines import happens
from app.errors import BotdataError
from app.migration.sources.pace import Pace
from app.migration.sources.source import Progress
from app.migration.target.target_session import open_target
from app.state.pace import Pause, WorkingPace, end_pace, read_pause, say_pace, wait_for_no_standby
from app.state.sync_progress import SyncProgress, end_progress, keep_progress
from app.state.tool_schema import may_read

_EVERY = 1.0  # seconds between looks
_PATIENCE = 10.0  # seconds that a command waits for the first look
_AGAIN = 2.0  # seconds until a target that is away is tried again


class _Keeper:
    def __init__(self, pace: Pace, target_url: str, command: str, notice: Callable[[str], None]) -> None:
        self._pace = pace
        self._target_url = target_url
        self._command = command
        self._notice = notice
        self._paused_at: float | None = None
        self._is_there = False
        self._may_say = True
        self.looked = asyncio.Event()

    async def keep(self) -> None:
        """Look every second, without an end; a target that is away is tried again, and the last look counts."""
        while True:
            with suppress(BotdataError, psycopg.Error):
                async with open_target(self._target_url, step=self._command) as connection:
                    self._is_there = False
                    await wait_for_no_standby(connection)
                    try:
                        while True:
                            await self._look(connection)
                            self.looked.set()
                            await asyncio.sleep(_EVERY)
                    finally:
                        if self._is_there and self._may_say and not connection.closed:
                            await end_pace(connection)
            self.looked.set()
            await asyncio.sleep(_AGAIN)

    async def _look(self, connection: AsyncConnection) -> None:
        self._is_there = self._is_there or await may_read(connection, "pauses")
        if not self._is_there:  # the first copy makes the schema
            self._follow(None)
            return
        self._follow(await read_pause(connection))
        if self._may_say:
            rate = str(self._pace.max_rate) if self._pace.max_rate else None
            try:
                await say_pace(connection, WorkingPace(self._command, rate, self._pace.slowdown, self._pace.is_held))
            except psycopg.errors.InsufficientPrivilege:  # a verify's role may have no right to write
                self._may_say = False

    def _follow(self, pause: Pause | None) -> None:
        if pause is not None and not self._pace.is_paused:
            self._paused_at = monotonic()
            self._pace.pause()
            self._notice(f"paused {pause}; to go on: botdata resume")
        elif pause is None and self._pace.is_paused:
            self._pace.resume()
            self._notice(f"resumed after {monotonic() - (self._paused_at or monotonic()):.0f} s")


@asynccontextmanager
async def kept_pace(pace: Pace, target_url: str, command: str, notice: Callable[[str], None]) -> AsyncIterator[None]:
    """As long as the context lasts, the target's pause is the command's; it was looked at once when the context begins.

    Nothing of it stops a command: a target that cannot be asked is left to what the command itself does there.

    Args:
        notice: told of a pause, and of its end.
    """
    keeper = _Keeper(pace, target_url, command, notice)
    keeping = asyncio.create_task(keeper.keep())
    try:
        await happens(keeper.looked, _PATIENCE)
        yield
    finally:
        await end_task(keeping)
        pace.resume()


class KeptProgress:
    """Passes on what it is told, and remembers it by table."""

    def __init__(self, told: Progress) -> None:
        self._told = told
        self._tables: dict[str, tuple[int, int, float]] = {}
        self._changed: set[str] = set()
        self._wrote = False

    def begin(self, table: str, total: int, done: int) -> None:
        self._told.begin(table, total, done)
        self._tables[table] = done, total, monotonic()
        self._changed.add(table)

    def advance(self, table: str, rows: int) -> None:
        self._told.advance(table, rows)
        done, total, since = self._tables.get(table, (0, 0, monotonic()))
        self._tables[table] = done + rows, total, since
        self._changed.add(table)

    def notice(self, message: str) -> None:
        self._told.notice(message)

    async def keep(self, target_url: str) -> None:
        """Write it down every second, without an end; where the target does not take it, nothing is kept.

        Watching is not what a sync is for: nothing of it stops one.
        """
        with suppress(BotdataError, psycopg.Error):
            async with open_target(target_url, step="sync") as connection:
                try:
                    while True:
                        await asyncio.sleep(_EVERY)
                        await self._write(connection)
                finally:
                    if self._wrote:  # else it is another sync's, which kept this one from its work
                        await end_progress(connection)

    async def _write(self, connection: psycopg.AsyncConnection) -> None:
        changed, self._changed = self._changed, set()
        if changed and not self._wrote:
            self._wrote = True
            await end_progress(connection)  # of a sync that was killed
        for table in sorted(changed):
            done, total, since = self._tables[table]
            await keep_progress(connection, SyncProgress(table, done, total, monotonic() - since))


@asynccontextmanager
async def kept_progress(told: Progress, target_url: str) -> AsyncIterator[Progress]:
    """What a sync is to tell of its progress, kept in the target as long as the context lasts."""
    progress = KeptProgress(told)
    keeping = asyncio.create_task(progress.keep(target_url))
    try:
        yield progress
    finally:
        await end_task(keeping)
