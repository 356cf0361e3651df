"""Sources that are read at a limited rate, measured from their own side: when they gave how much."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from time import monotonic

from app.migration.retry import Limits
from app.migration.sources.pace import Pace
from app.migration.sources.postgres.postgres_source import open_postgres_source
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import Source
from app.stores.supabase.client import SupabaseRest
from tests.migration.engine import QUICK
from tests.support.faults import Answer, Request
from tests.support.page_server import PageServer
from tests.support.relay import Relay, postgres_address


@dataclass
class Given:
    """What a source gave: moments, rows (over a connection: 0) and bytes."""

    seen: list[tuple[float, int, int]] = field(default_factory=list)

    def add(self, rows: int, size: int) -> None:
        self.seen.append((monotonic(), rows, size))

    @property
    def rows(self) -> int:
        return sum(rows for _, rows, _ in self.seen)

    @property
    def size(self) -> int:
        return sum(size for _, _, size in self.seen)

    @property
    def seconds(self) -> float:
        """From the first to the last."""
        return self.seen[-1][0] - self.seen[0][0] if self.seen else 0.0

    def most(self, *, rows: bool, beyond: float) -> float:
        """The most that it gave in a second, over any span of time with so many seconds added."""
        most = 0.0
        for first, (began, *_) in enumerate(self.seen):
            total = 0
            for ended, *given in self.seen[first:]:
                total += given[0 if rows else 1]
                most = max(most, total / (ended - began + beyond))
        return most


class _CountingRelay(Relay):
    def __init__(self, url: str, given: Given) -> None:
        self._given = given
        super().__init__(postgres_address(url))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slowed: bool) -> None:
        if slowed:
            await super()._pass_on(reader, writer, slowed=slowed)
            return
        while data := await reader.read(65536):
            self._given.add(0, len(data))
            writer.write(data)
            await writer.drain()


@contextmanager
def counted(pages: PageServer) -> Iterator[Given]:
    """What a page server gives."""
    given = Given()

    def note(answer: Answer) -> Answer:
        given.add(answer.rows, len(answer.body))
        return answer

    def hook(request: Request) -> object:
        return note if request.method == "GET" else None

    pages.hook = hook  # type: ignore[assignment]
    try:
        yield given
    finally:
        pages.hook = lambda request: None


@contextmanager
def counted_connections(url: str) -> Iterator[tuple[str, Given]]:
    """An address of the same database, and what it gives there."""
    given = Given()
    with _CountingRelay(url, given) as relay:
        yield relay.way(url), given


@asynccontextmanager
async def paced(server: PageServer | str, pace: Pace, limits: Limits = QUICK) -> AsyncIterator[Source]:
    """A page server, or a database by its address, as a source that is read at a pace."""
    if isinstance(server, str):
        async with open_postgres_source(server, step="test", limits=limits, pace=pace) as source:
            yield source
        return
    rest = await SupabaseRest.open(server.url, server.service_key, request_timeout=20.0)
    try:
        yield RestSource(rest, server.url, limits=limits, pace=pace)
    finally:
        await rest.close()
