"""Writers of the stages whose authority is Supabase, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from app.common.metrics import Metrics
from app.cutover.replication.to_postgres.journal_writer import JournalWriter
from app.cutover.stages import Stage
from app.models import Base, Client
from app.settings import Settings
from app.stores.outgoing_write import OutgoingWrite
from app.stores.postgres.database import Database
from app.stores.supabase.backend import SupabaseBackend
from app.stores.supabase.client import SupabaseRest
from tests.fixtures.cutover import Pair

PROCESS = "here:1:abcdef"
CLIENT = {"yclients_id": 7, "company_id": 1, "phone": "79990000001", "name": "Анна"}
NOTES = "SELECT process, table_name, key, state, attempts, last_error FROM botdata.notes ORDER BY id"
LEFT_AT = "SELECT left_at FROM botdata.last_left_note"
ONE_NOTE = (PROCESS, "clients", ["7", "1"])


async def nothing() -> None: ...


def clients(pair: Pair) -> tuple[list[str], list[str]]:
    """Those of Supabase, and those of PostgreSQL."""
    return pair.texts("clients", "source"), pair.texts("clients", "target")


class Interrupted(SupabaseBackend):
    """The backend on Supabase, with something done right before and right behind each write."""

    before: Callable[[], Awaitable[None]] = staticmethod(nothing)
    behind: Callable[[], Awaitable[None]] = staticmethod(nothing)

    async def upsert(self, model: type[Base], rows: Sequence[Any], write: OutgoingWrite) -> list[Any]:
        await self.before()
        answer = await super().upsert(model, rows, write)
        await self.behind()
        return answer


@dataclass
class Forward:
    """A writer and what it stands on."""

    writer: JournalWriter
    backend: Interrupted
    rest: SupabaseRest
    database: Database
    metrics: Metrics = field(default_factory=Metrics)
    stage: Stage = Stage.DUALWRITE

    async def write(self, *rows: dict[str, Any], model: Any = Client) -> list[Any]:
        """Write rows at the stage."""
        return await self.writer.upsert(self.stage, model, rows, OutgoingWrite())


@asynccontextmanager
async def forward(settings: Settings, *, process: str = PROCESS, start: bool = False) -> AsyncIterator[Forward]:
    """The writer of one process, closed at the end; with `start` it looks after what is left."""
    url, key = settings.require_supabase()
    rest = await SupabaseRest.open(url, key, request_timeout=settings.query_timeout)
    database = Database(
        settings.require_database_url(),
        pool_size=settings.mirror_connections,
        pool_timeout=settings.mirror_timeout / 2,
        statement_timeout=settings.mirror_timeout,
    )
    metrics = Metrics()
    backend = Interrupted(rest, default_timezone=settings.default_timezone)
    writer = JournalWriter(backend, rest, database, settings, process, metrics)
    if start:
        await writer.start()
    try:
        yield Forward(writer, backend, rest, database, metrics)
    finally:
        await writer.close()
        await database.close()
        await backend.close()


async def until(is_so: Callable[[], bool]) -> None:
    """Return once something is so; AssertionError when it does not come to be within a minute."""
    for _ in range(3000):
        if is_so():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come to be")
