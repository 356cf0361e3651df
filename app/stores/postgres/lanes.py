"""A pool that many schemas share, in which each has a connection of its choice.

A server process keeps what it knows of each table that it has met, and the plans of prepared statements: some 50 kB a
table, 40 kB a plan. Were each schema's statements to go over any connection, each server process would keep all of it.
So each connection is a pool of its own, a lane, and a schema's calls take the same one as long as it is free.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from zlib import crc32

from app.common.background import end_at_once
from app.common.schemas import Schemas
from app.cutover.failover_mark import FailoverMark
from app.cutover.fencing import WriteGuard
from app.state.wal import WalPlace
from app.stores.postgres.connection_pool import Driver, end_turns, take_turns
from app.stores.postgres.database import Database


class Lanes:
    """The pools of one connection each.

    Args:
        databases: one for each connection.
        pool_timeout: seconds to wait for a free one.
    """

    def __init__(self, databases: Sequence[Database], *, pool_timeout: float) -> None:
        self.databases = databases
        self._pool_timeout = pool_timeout
        self._turns = asyncio.Semaphore(len(databases))
        self._busy: set[int] = set()

    def report_commits(self, on_commit: Callable[[WalPlace | None], None] | None) -> None:
        """See `Database.on_commit`; to be called before a schema is opened."""
        for database in self.databases:
            database.on_commit = on_commit

    async def take(self, share: asyncio.Semaphore, first: int) -> int:
        """A lane that is free, by its number: `first`, or one of those after it; to be given back.

        Args:
            share: of a schema, which leaves some lanes for the others.

        Raises:
            UnavailableError: none was free in time.
        """
        await take_turns((share, self._turns), self._pool_timeout)
        count = len(self.databases)
        lane = next(lane for n in range(count) if (lane := (first + n) % count) not in self._busy)
        self._busy.add(lane)
        return lane

    def give_back(self, share: asyncio.Semaphore, lane: int) -> None:
        """Of a lane that was taken."""
        self._busy.remove(lane)
        end_turns((share, self._turns))

    async def close(self) -> None:
        """Close every connection."""
        await end_at_once(*(database.close for database in self.databases))


class SchemaDatabase(Database):
    """The tables of one schema over shared lanes: a `Database` for all who read and write.

    Args:
        guard, mark: as of `Database`.
    """

    def __init__(self, lanes: Lanes, schema: str, *, guard: WriteGuard | None, mark: FailoverMark) -> None:
        self.schemas = Schemas(schema)
        self.mark = mark
        self.guard = guard or WriteGuard(mark=mark)
        self._lanes = lanes
        self._own = crc32(schema.encode()) % len(lanes.databases)
        self._share = asyncio.Semaphore(-(-len(lanes.databases) // 2))
        self._opened: dict[int, Database] = {}
        self.on_commit = lanes.databases[0].on_commit

    @property
    def is_pooled(self) -> bool:
        return self._lane(self._own).is_pooled

    @asynccontextmanager
    async def driver(self, *, autocommit: bool = True) -> AsyncIterator[Driver]:
        lane = await self._lanes.take(self._share, self._own)
        try:
            async with self._lane(lane).driver(autocommit=autocommit) as driver:
                yield driver
        finally:
            self._lanes.give_back(self._share, lane)

    async def close(self) -> None:
        """The lanes are closed by the one who shares them."""

    def _lane(self, number: int) -> Database:
        lane = self._opened.get(number)
        if lane is None:
            database = self._lanes.databases[number]
            lane = self._opened[number] = database.in_schema(self.schemas.data, guard=self.guard, mark=self.mark)
        return lane
