"""Writes while PostgreSQL is the authority reach Supabase, through the outbox, as they are there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from app.cutover.guard import WriteGuard
from app.cutover.stages import Stage
from app.data_layer.metrics import Metrics
from app.data_layer.recorded_writer import RecordedWriter
from app.data_layer.repository_backend import RepositoryBackend
from app.db import Database
from app.models import Client, DialogContext, StaffSchedule
from app.rest import SupabaseRest
from app.settings import Settings
from tests.cutover.conftest import MakeSettings, Pair

CLIENT = {"yclients_id": 7, "company_id": 1, "phone": "79990000001"}


@asynccontextmanager
async def writer_of(settings: Settings, process: str = "p") -> AsyncIterator[RecordedWriter]:
    """A writer that is started, with pools of its own."""
    url, key = settings.require_supabase()
    rest = await SupabaseRest.open(url, key, request_timeout=settings.mirror_timeout)
    own = Database(settings.require_database_url(), guard=WriteGuard(settings.flags.stage, process))
    mirrors = Database(settings.require_database_url(), pool_size=settings.mirror_connections)
    backend = RepositoryBackend(own, default_timezone="Europe/Moscow")
    writer = RecordedWriter(backend, rest, mirrors, settings, process, Metrics())
    await writer.start()
    try:
        yield writer
    finally:
        await writer.close()
        for pool in (own, mirrors):
            await pool.close()
        await rest.close()


def outbox(pair: Pair) -> list[Any]:
    return pair.ask("SELECT table_name, key, attempts, unsure FROM botdata.outbox ORDER BY id")


@pytest.mark.parametrize("stage", [Stage.LIVE, Stage.RAMPDOWN])
async def test_a_write_is_sent_and_its_entry_taken_out(pair: Pair, settings_of: MakeSettings, stage: Stage) -> None:
    pair.set_stage(stage)
    async with writer_of(settings_of(mirror_wait=5)) as writer:
        (row,) = await writer.upsert(
            stage, Client, [{**CLIENT, "total_spent": Decimal("9999999999.99"), "tags": ["a,b", '"', ""]}]
        )
        assert (row.id, row.total_spent, writer.pending) == (1, Decimal("9999999999.99"), 0)
        context = {"user_id": "79990000001", "data": {"n": [1, None]}, "messages": []}
        await writer.upsert(stage, DialogContext, [context])
        await writer.upsert(stage, StaffSchedule, [{"staff_id": 3, "date": date(2026, 2, 28)}])
    assert outbox(pair) == []
    for table in ("clients", "dialog_contexts", "staff_schedules"):
        assert pair.texts(table, "source") == pair.texts(table, "target") != []
