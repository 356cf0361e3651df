"""Lets the target know how far a sync has come, over a connection of its own, for whoever watches it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic

import psycopg

from app.common.background import end_task
from app.errors import BotdataError
from app.migration.sources.source import Progress
from app.migration.target.target_session import open_target
from app.state.sync_progress import SyncProgress, end_progress, keep_progress

_EVERY = 1.0  # seconds


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
