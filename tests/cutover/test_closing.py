"""The end of a process: it waits for its mirrors, and says what it left and where that is written down."""

from __future__ import annotations

import asyncio
import logging

import psycopg
import pytest

from app.data_layer import open_data_layer
from tests.cutover.following import ask, client, set_stage
from tests.fixtures.cutover import MakeSettings, Pair

ROW = "INSERT INTO clients (yclients_id, company_id, phone) VALUES (1, 1, '7')"


@pytest.mark.parametrize(
    ("stage", "mirror", "kept", "says"),
    [
        ("dualwrite", "target", "notes", "closed with 1 mirrors to PostgreSQL left; `botdata sync` brings them over"),
        ("rampdown", "source", "outbox", "closed with 1 mirrors to Supabase left in the outbox"),
    ],
)
async def test_what_does_not_arrive_in_time_is_told_and_kept(
    pair: Pair,
    settings_of: MakeSettings,
    caplog: pytest.LogCaptureFixture,
    stage: str,
    mirror: str,
    kept: str,
    says: str,
) -> None:
    await set_stage(pair, stage)
    for store in ("source", "target"):
        await ask(pair, ROW, store=store)
    with psycopg.connect(getattr(pair, mirror)) as locker:
        await asyncio.to_thread(locker.execute, "SELECT FROM clients FOR UPDATE")
        with caplog.at_level(logging.WARNING, "app.data_layer"):
            async with open_data_layer(settings_of(close_timeout=0.5, note_timeout=5.0)) as data:
                assert (await data.upsert_client(client(1))).error is None
        assert says in caplog.messages
        assert await ask(pair, f"SELECT key FROM botdata.{kept}") == [(["1", "1"],)]
        assert await ask(pair, "SELECT FROM botdata.processes") == []


@pytest.mark.parametrize("stage", ["dualwrite", "rampdown"])
async def test_what_arrives_in_time_is_waited_for(
    pair: Pair, settings_of: MakeSettings, caplog: pytest.LogCaptureFixture, stage: str
) -> None:
    await set_stage(pair, stage)
    async with open_data_layer(
        settings_of(mirror_wait=0, note_timeout=5.0, close_timeout=20.0, outcome_settles_after=60.0)
    ) as data:
        for number in range(5):
            assert (await data.upsert_client(client(number + 1))).error is None
    assert [record.levelname for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert pair.texts("clients", "source") == pair.texts("clients", "target")
    assert len(pair.texts("clients", "target")) == 5
    assert await ask(pair, "SELECT FROM botdata.notes") == await ask(pair, "SELECT FROM botdata.outbox") == []
