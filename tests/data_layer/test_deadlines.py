"""Stores that hang, hang up or refuse: an answer in time, with the code that tells what is known."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import psycopg
import pytest

from app.data_layer import open_data_layer
from app.data_layer.executor import DataLayerClosedError
from app.stores.postgres import keepalives
from tests.contract.stores import rows_of
from tests.contract.test_upserts import client
from tests.data_layer.relay import relay_to
from tests.fixtures.data_layer import MakeSettings

REQUESTS_AT_A_TIME = 20
_BUSY = 12.0  # seconds that a busy machine may make of one or two; without a deadline it is half a minute or more
THIS_DATABASE = "(SELECT oid FROM pg_database WHERE datname = current_database())"


async def until(database_url: str, statement: str, count: int) -> None:
    """Return once the statement counts so many."""
    async with asyncio.timeout(60):
        while rows_of(database_url, statement) != [{"count": count}]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("repository", [False, True])
async def test_a_store_that_accepts_and_never_answers(settings_with: MakeSettings, repository: bool) -> None:
    async with relay_to(None) as relay:
        settings = settings_with(
            use_repository_pattern=repository,
            supabase_url=f"http://127.0.0.1:{relay.port}",
            supabase_key="sb_secret_x",
            database_url=relay.database_url,
            query_timeout=0.6,
        )
        started = time.monotonic()
        async with open_data_layer(settings) as data:
            read = await data.get_company(1)
            assert read.error_code == "timeout"
            write = await data.upsert_client(client(1))
            assert write.error_code == ("unavailable" if repository else "outcome_unknown")
        assert time.monotonic() - started < _BUSY


async def test_a_write_that_waits_for_its_turn_has_written_nothing(settings_with: MakeSettings) -> None:
    async with relay_to(None) as relay:
        settings = settings_with(
            use_repository_pattern=False,
            supabase_url=f"http://127.0.0.1:{relay.port}",
            supabase_key="sb_secret_x",
            query_timeout=1,
        )
        async with open_data_layer(settings) as data:
            answers = await asyncio.gather(*[data.upsert_client(client(number)) for number in range(1, 31)])
    codes = Counter(answer.error_code for answer in answers)
    assert codes == {"outcome_unknown": REQUESTS_AT_A_TIME, "unavailable": 30 - REQUESTS_AT_A_TIME}


@pytest.mark.parametrize("repository", [False, True])
async def test_a_health_check_has_a_limit_of_its_own(settings_with: MakeSettings, repository: bool) -> None:
    async with relay_to(None) as relay:
        settings = settings_with(
            use_repository_pattern=repository,
            supabase_url=f"http://127.0.0.1:{relay.port}",
            supabase_key="sb_secret_x",
            database_url=relay.database_url,
            query_timeout=2 * _BUSY,
            health_check_timeout=0.3,
        )
        async with open_data_layer(settings) as data:
            health = await data.health_check()
    assert (health.success, health.error_code) == (False, "timeout")
    assert (health.metadata["healthy"], health.metadata["limit"]) == (False, 0.3)
    assert 0.3 <= health.metadata["response_time"] < _BUSY


@pytest.mark.parametrize("repository", [False, True])
async def test_a_store_that_refuses_connections(
    settings_with: MakeSettings, repository: bool, unused_tcp_port: int
) -> None:
    settings = settings_with(
        use_repository_pattern=repository,
        supabase_url=f"http://127.0.0.1:{unused_tcp_port}",
        supabase_key="sb_secret_x",
        database_url=f"postgresql://postgres@127.0.0.1:{unused_tcp_port}/x",
    )
    async with open_data_layer(settings) as data:
        for answer in (await data.health_check(), await data.get_company(1), await data.upsert_client(client(1))):
            assert answer.error_code == "unavailable"


async def test_a_statement_that_waits_for_a_lock_is_rolled_back(settings_with: MakeSettings, database_url: str) -> None:
    async with open_data_layer(settings_with(database_url=database_url, query_timeout=1)) as data:
        with psycopg.connect(database_url) as other:
            other.execute("LOCK TABLE clients IN ACCESS EXCLUSIVE MODE")
            read, write = await asyncio.gather(data.get_client_by_id(1), data.upsert_client(client(1)))
        assert (read.error_code, write.error_code) == ("timeout", "timeout")
        assert (await data.get_client_by_id(1)).data is None


async def test_a_write_without_an_answer_has_an_unknown_outcome(settings_with: MakeSettings, database_url: str) -> None:
    async with relay_to(database_url) as relay:
        async with open_data_layer(settings_with(database_url=relay.database_url, query_timeout=1)) as data:
            assert (await data.get_company(1)).success
            relay.silent = True
            started = time.monotonic()
            read, write = await asyncio.gather(data.get_company(1), data.upsert_client(client(1)))
            assert 0.9 < time.monotonic() - started < _BUSY
            assert read.error_code == "timeout"
            assert write.error_code == "unavailable"  # its own connection was never made
            closing = time.monotonic()
        assert time.monotonic() - closing < _BUSY


async def test_a_connection_that_ends_while_it_is_made_has_written_nothing(
    settings_with: MakeSettings, database_url: str
) -> None:
    async with relay_to(database_url) as relay:
        settings = settings_with(database_url=relay.database_url, query_timeout=3)
        async with open_data_layer(settings) as data:
            relay.hang_up_after = b"statement_timeout"
            assert (await data.upsert_client(client(1))).error_code == "unavailable"


async def test_a_commit_whose_answer_is_lost_has_an_unknown_outcome(
    settings_with: MakeSettings, database_url: str
) -> None:
    async with (
        relay_to(database_url) as relay,
        open_data_layer(settings_with(database_url=relay.database_url)) as data,
    ):
        assert (await data.get_company(1)).success
        relay.hang_up_after = b"\x0bCOMMIT\0"
        answer = await data.upsert_client(client(1))
        assert answer.error_code == "outcome_unknown"
        assert rows_of(database_url, "SELECT yclients_id FROM clients") == [{"yclients_id": 1}]


async def test_connections_that_a_router_has_forgotten_cost_no_call(
    settings_with: MakeSettings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keepalives, "ASK_AFTER", 0.0)
    async with (
        relay_to(database_url) as relay,
        open_data_layer(settings_with(database_url=relay.database_url, database_pool_size=5)) as data,
    ):
        for call in (data.get_company, data.get_staff):
            await asyncio.gather(*[call(1) for _ in range(5)])
            relay.forget()
            # A write first: nothing of it may be sent on a line that leads nowhere, and remain unknown.
            calls = [data.upsert_client(client(1)), *[call(1) for _ in range(9)], data.upsert_client(client(2))]
            assert [answer.error_code for answer in await asyncio.gather(*calls)] == [None] * 11


async def test_a_call_that_is_cancelled_while_its_connection_is_asked_loses_no_place(
    settings_with: MakeSettings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keepalives, "ASK_AFTER", 0.0)
    async with (
        relay_to(database_url) as relay,
        open_data_layer(settings_with(database_url=relay.database_url, database_pool_size=2)) as data,
    ):
        await asyncio.gather(data.get_company(1), data.get_company(1))
        relay.forget()
        reading = [asyncio.create_task(data.get_company(1)) for _ in range(2)]
        await asyncio.sleep(0.1)  # they wait for an answer that does not come
        for task in reading:
            task.cancel()
        await asyncio.wait(reading)
        answers = await asyncio.gather(*[data.get_company(1) for _ in range(4)])
        assert [answer.error_code for answer in answers] == [None] * 4


async def test_connections_that_the_server_ended_are_not_noticed(
    settings_with: MakeSettings, database_url: str
) -> None:
    async with open_data_layer(settings_with(database_url=database_url)) as data:
        for call in (data.get_company, data.get_staff):
            await asyncio.gather(*[call(1) for _ in range(5)])
            with psycopg.connect(database_url) as other:
                ended = other.execute(
                    "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                ).fetchall()
                assert len(ended) >= 5
            # A write first: nothing of it may be sent on a dead connection and remain unknown.
            assert (await data.upsert_client(client(1))).success
            assert all(answer.success for answer in await asyncio.gather(*[call(1) for _ in range(5)]))


async def test_cancellation_goes_through_and_loses_no_connection(
    settings_with: MakeSettings, database_url: str
) -> None:
    settings = settings_with(database_url=database_url, database_pool_size=2)
    async with open_data_layer(settings) as data:
        for delay in (0, 0.001, 0.005, 0.02) * 3:
            tasks: list[asyncio.Task[Any]] = [
                asyncio.create_task(data.get_services(1)),
                asyncio.create_task(data.upsert_client(client(1))),
            ]
            await asyncio.sleep(delay)
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(outcome, asyncio.CancelledError) or outcome.success
        answers = await asyncio.wait_for(asyncio.gather(*[data.get_company(1) for _ in range(6)]), 20)
        assert all(answer.success for answer in answers)
        idle = rows_of(
            database_url,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' "
            "AND pid <> pg_backend_pid()",
        )
        assert idle == [{"count": 0}]


async def test_close_leaves_nothing_open_and_closed_is_closed(settings_with: MakeSettings, database_url: str) -> None:
    before = asyncio.all_tasks()
    async with open_data_layer(settings_with(database_url=database_url)) as data:
        with psycopg.connect(database_url) as other:
            other.execute("LOCK TABLE services IN ACCESS EXCLUSIVE MODE")
            waiting = [asyncio.create_task(data.get_services(1)) for _ in range(3)]
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'services'::regclass"
            await until(database_url, f"{waits} AND database = {THIS_DATABASE}", 3)
            started = time.monotonic()
            await data.close()
            assert time.monotonic() - started < _BUSY
        assert {answer.error_code for answer in await asyncio.gather(*waiting)} == {"unavailable"}
        with pytest.raises(DataLayerClosedError, match="get_company"):
            await data.get_company(1)
        await data.close()
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    await until(database_url, others, 0)
    assert asyncio.all_tasks() <= before
