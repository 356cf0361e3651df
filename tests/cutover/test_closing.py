"""The end of a process: it waits for its mirrors, and says what it left and where that is written down."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import psycopg
import pytest

from app.data_layer import open_data_layer
from tests.cutover import outbox_writers
from tests.cutover.following import ask, client, set_stage, until
from tests.fixtures.cutover import MakeSettings, Pair
from tests.support.page_server import PageServer

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


async def test_what_outlives_the_time_to_close_is_ended(pair: Pair, settings_of: MakeSettings) -> None:
    await set_stage(pair, "dualwrite")
    await ask(pair, "ALTER TABLE clients ADD CONSTRAINT none CHECK (id < 0)", store="source")
    slow = "BEGIN PERFORM pg_sleep(60); RETURN OLD; END"
    await ask(pair, f"CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ {slow} $$")
    await ask(pair, "CREATE TRIGGER slow BEFORE DELETE ON botdata.notes FOR EACH ROW EXECUTE FUNCTION slow()")
    before = asyncio.all_tasks()
    try:
        with PageServer(pair.source) as pages:
            served = {"supabase_url": pages.url, "supabase_key": pages.service_key}
            async with open_data_layer(settings_of(close_timeout=0.3, mirror_timeout=50.0, **served)) as data:
                assert (await data.upsert_client(client(1))).error_code == "rejected"  # so that its note is to go
            assert asyncio.all_tasks() == before
        assert await ask(pair, "SELECT key FROM botdata.notes") == [(["1", "1"],)]
    finally:
        await ask(pair, "DROP FUNCTION slow CASCADE")
        await ask(pair, "ALTER TABLE clients DROP CONSTRAINT none", store="source")


async def test_counts_that_are_not_taken_hold_the_end_up_for_two_seconds(
    pair: Pair, settings_of: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    await set_stage(pair, "dualwrite")
    with psycopg.connect(pair.target) as locker:
        async with open_data_layer(settings_of()) as data:
            await data.get_client_by_id(1)
            await asyncio.to_thread(locker.execute, "LOCK TABLE botdata.comparisons")
    assert "the counts of comparisons cannot be saved for now: no answer within 2 s" in caplog.messages


async def test_an_end_that_is_cancelled_says_goodbye_all_the_same(pair: Pair, settings_of: MakeSettings) -> None:
    await set_stage(pair, "rampdown")
    opened = open_data_layer(settings_of())
    data = await opened.__aenter__()
    with psycopg.connect(pair.target) as locker:
        await asyncio.to_thread(locker.execute, "LOCK TABLE clients")
        reading = asyncio.create_task(data.get_client_by_id(1))
        await outbox_writers.until(lambda: outbox_writers.somebody_waits(pair))
        ending = asyncio.create_task(opened.__aexit__(None, None, None))
        await asyncio.sleep(0)  # it waits for the read
        ending.cancel()
        await asyncio.wait({ending})
    assert ending.cancelled()
    assert (await reading).error_code == "unavailable"
    assert await ask(pair, "SELECT FROM botdata.processes") == []


CONNECTIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND backend_type = 'client backend'"
)


@pytest.mark.parametrize("stage", ["shadow", "rampdown"])
async def test_all_is_closed_however_early_the_end_is_cancelled(
    pair: Pair, patient: MakeSettings, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    await set_stage(pair, stage)
    sessions = _recorded_sessions(monkeypatch)
    before, turns, is_cancelled = asyncio.all_tasks(), 1, True
    while is_cancelled:
        opened = open_data_layer(patient(close_timeout=10.0))
        data = await opened.__aenter__()
        await asyncio.gather(data.upsert_client(client(1)), data.get_client_by_id(1), data.get_services(1))
        closing = asyncio.create_task(opened.__aexit__(None, None, None))
        for _ in range(turns):
            await asyncio.sleep(0)
        is_cancelled = closing.cancel()
        await asyncio.wait({closing})
        await until(pair, CONNECTIONS, [(0,)])
        assert all(session.is_closed for session in sessions)
        async with asyncio.timeout(60):
            while asyncio.all_tasks() - before:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        turns = 2 * turns + 1
    assert turns > 2


async def test_all_is_closed_where_a_process_cannot_end(
    pair: Pair, patient: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await set_stage(pair, "dualwrite")
    sessions = _recorded_sessions(monkeypatch)

    async def fail(_: object) -> None:
        raise OSError("the list of processes")

    monkeypatch.setattr("app.cutover.membership.Membership.leave", fail)
    with pytest.raises(OSError, match="the list of processes"):
        async with open_data_layer(patient()) as data:
            assert (await data.upsert_client(client(1))).error is None
    await until(pair, CONNECTIONS, [(0,)])
    assert all(session.is_closed for session in sessions)


def _recorded_sessions(monkeypatch: pytest.MonkeyPatch) -> list[httpx.AsyncClient]:
    sessions: list[httpx.AsyncClient] = []

    class Recorded(httpx.AsyncClient):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            sessions.append(self)

    monkeypatch.setattr(httpx, "AsyncClient", Recorded)
    return sessions
