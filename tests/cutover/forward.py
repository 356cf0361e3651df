"""Writers of the stages whose authority is Supabase, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from app.cutover.stages import Stage
from app.data_layer.metrics import Metrics
from app.data_layer.noted_writer import NotedWriter
from app.data_layer.supabase_backend import SupabaseBackend
from app.db import Database
from app.models import Client
from app.rest import SupabaseRest
from app.settings import Settings


@dataclass
class Forward:
    """A writer and what it stands on."""

    writer: NotedWriter
    metrics: Metrics
    stage: Stage = Stage.DUALWRITE

    async def write(self, *rows: dict[str, Any], model: Any = Client) -> list[Any]:
        """Write rows at the stage."""
        return await self.writer.upsert(self.stage, model, rows)


@asynccontextmanager
async def forward(settings: Settings, *, process: str = "here:1:abcdef", start: bool = False) -> AsyncIterator[Forward]:
    """A writer of one process, closed at the end."""
    url, key = settings.require_supabase()
    rest = await SupabaseRest.open(url, key, request_timeout=settings.query_timeout)
    database = Database(settings.require_database_url(), pool_size=settings.mirror_connections, pool_timeout=2.0)
    metrics = Metrics()
    backend = SupabaseBackend(rest, default_timezone=settings.default_timezone)
    writer = NotedWriter(backend, rest, database, settings, process, metrics)
    if start:
        await writer.start()
    try:
        yield Forward(writer, metrics)
    finally:
        await writer.close()
        await database.close()
        await backend.close()
