"""The data layer through a transaction pooler, of which its settings say nothing, beside other clients of the pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from sqlalchemy import Select, literal_column, select, text

from app.data_layer import open_data_layer
from app.data_layer.layer import DataLayer
from app.errors import OutcomeUnknownError, StoreError, StoreTimeoutError, UnavailableError
from app.repositories import UnitOfWork
from app.settings import Settings
from app.state.fetching import fetch_row, fetch_value
from app.stores.postgres.database import Database
from tests.migration.engine import execute, value
from tests.pooler.bouncer import late_flushes, run_bouncer

_AT_ONCE = 100
_EACH = 20
_DAY = date(2026, 2, 3)
_WHEN = datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=UTC)
_ON = {"TimeZone": "Asia/Kolkata", "DateStyle": "German, DMY"}


def _settings(url: str, **given: Any) -> Settings:
    return Settings(_env_file=None, use_repository_pattern=True, database_url=url, **given)


async def _calls_of(data: DataLayer, number: int) -> int:
    """Twenty calls on rows that nobody else has, each answer checked."""
    key = {"yclients_id": number, "company_id": 7}
    calls = 0

    async def ask(method: str, *arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        answer = await getattr(data, method)(*arguments, **named)
        assert answer.success, (method, answer.error, answer.error_code)
        return answer.data

    for turn in range(_EACH // 5):
        begun = datetime.now(UTC).replace(tzinfo=None)
        total = Decimal(number) / 100 + turn
        given = {
            **key, "name": f"Имя {number} {turn}", "phone": f"79{number:09}", "total_spent": total,
            "first_visit_date": _DAY, "last_sync_at": _WHEN.replace(tzinfo=None), "tags": [f"t{number}", "ё"],
        }  # fmt: skip
        written = await ask("upsert_client", given)
        for row in (
            written,
            await ask("get_client_by_id", number, 7),
            await ask("get_client_by_phone", given["phone"]),
        ):
            assert {name: getattr(row, name) for name in given} == given
            assert abs(row.created_at.replace(tzinfo=None) - begun) < timedelta(minutes=2)
        context = {"user_id": given["phone"], "company_id": 7, "data": {"step": turn, "of": number}}
        await ask("upsert_dialog_context", context)
        read = await ask("get_dialog_context", given["phone"])
        assert read.data == context["data"]
        assert abs(read.updated_at.replace(tzinfo=None) - begun) < timedelta(minutes=2)
    return calls


async def _disturb(url: str) -> None:
    """Another client, which prepares statements under the names that this driver gives, and sets what it likes."""
    number = 0
    while True:
        number += 1
        with suppress(psycopg.Error):
            async with await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=0) as client:
                for name, setting in _ON.items():
                    await client.execute(f"SET {name} = '{setting}'", prepare=False)
                await client.execute("SET search_path = pg_catalog; SET extra_float_digits = -3", prepare=False)
                await client.execute("SET bytea_output = 'escape'; SET statement_timeout = '3s'", prepare=False)
                for column in ("name", "phone", "notes"):
                    await client.execute(f"SELECT {column} FROM public.clients WHERE id = %s", [number])
                    await asyncio.sleep(0.002)


@asynccontextmanager
async def _disturbed(url: str) -> AsyncIterator[None]:
    disturbing = [asyncio.create_task(_disturb(url)) for _ in range(2)]
    try:
        yield
    finally:
        for task in disturbing:
            task.cancel()
        await asyncio.gather(*disturbing, return_exceptions=True)


@pytest.mark.parametrize("round_robin", [False, True])
async def test_two_thousand_calls_a_hundred_at_a_time(database_url: str, round_robin: bool) -> None:
    with run_bouncer(database_url, round_robin=round_robin) as bouncer:
        url = bouncer.url(database_url)
        async with open_data_layer(_settings(url)) as data, _disturbed(url):
            done = await asyncio.gather(*(_calls_of(data, number) for number in range(1, _AT_ONCE + 1)))
    assert sum(done) == 2000
    assert value(database_url, "SELECT count(*) FROM clients") == _AT_ONCE


async def test_nothing_of_its_session_stays_behind(database_url: str) -> None:
    with run_bouncer(database_url) as bouncer:
        before = bouncer.sessions(database_url)
        async with open_data_layer(_settings(bouncer.url(database_url))) as data:
            await asyncio.gather(*(_calls_of(data, number) for number in range(1, 9)))
            after = bouncer.sessions(database_url)
        assert after == before


async def test_another_clients_settings_change_no_answer(database_url: str) -> None:
    execute(database_url, "CREATE SCHEMA other; CREATE TABLE other.clients (LIKE public.clients)")
    with run_bouncer(database_url, size=1) as bouncer:
        url = bouncer.url(database_url)
        database = Database(url)
        query = (
            "SELECT timestamptz '2026-02-03 04:05:06Z', timestamp '2026-02-03 04:05', date '2026-02-03', "
            "0.1::float8 + 0.2, '\\x00ff'::bytea, current_timestamp::timestamp - clock_timestamp() AT TIME ZONE 'UTC' "
            "< '1 minute', count(*) FROM public.clients"
        )
        execute(database_url, "INSERT INTO public.clients (yclients_id, company_id, phone) VALUES (1, 7, '79')")
        async with database.statements() as connection:
            expected = await fetch_row(connection, query)
        assert expected[-1] == 1
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as other:
            other.execute("SET search_path = other; SET extra_float_digits = -3; SET IntervalStyle = 'iso_8601'")
            other.execute("SET TimeZone = 'Asia/Kolkata'; SET DateStyle = 'German, DMY'; SET statement_timeout = '1h'")
            async with database.statements() as connection:
                assert (await fetch_row(connection, query))[:6] == expected[:6]  # the zone is not ours
            async with database.writer() as connection:
                assert await fetch_value(connection, "SHOW statement_timeout") == "30s"
                assert await fetch_row(connection, query) == expected
                assert await fetch_row(connection, query) == expected
            assert other.execute("SHOW statement_timeout").fetchone() == ("1h",)
        await database.close()


async def test_what_the_database_has_set_changes_no_answer(fresh_database: str) -> None:
    """PgBouncer tells a client of the server's first settings, and of none that a transaction has."""
    name = value(fresh_database, "SELECT current_database()")
    for setting in ("TimeZone = 'Asia/Kolkata'", "DateStyle = 'German, DMY'"):
        execute(fresh_database, f"ALTER DATABASE {name} SET {setting}")
    with run_bouncer(fresh_database) as bouncer:
        database = Database(bouncer.url(fresh_database))
        query = "SELECT timestamptz '2026-02-03 04:05:06Z', timestamp '2026-02-03 04:05:06', date '2026-02-03'"
        when = datetime(2026, 2, 3, 4, 5, 6)
        for connected in (database.statements, database.writer):
            async with connected() as connection:
                row = await fetch_row(connection, query)
            assert row == (when.replace(tzinfo=UTC), when, when.date())
            assert row[0].utcoffset() == timedelta(0)
        await database.close()


async def test_an_idle_client_holds_no_server(database_url: str) -> None:
    """psycopg may send a Flush after a pipeline's Sync, and PgBouncer keeps a server for it until the next Sync."""
    with run_bouncer(database_url, size=1) as bouncer:
        async with late_flushes(bouncer.port) as port:
            database = Database(replace(bouncer, port=port).url(database_url, sslmode="disable", gssencmode="disable"))
            one: Select[Any] = select(literal_column("1"))

            async def read() -> None:
                async with database.statements() as connection:
                    assert await fetch_value(connection, "SELECT %(number)s", {"number": 1}) == 1

            async def read_wrong() -> None:
                with pytest.raises(StoreError):
                    async with database.statements() as connection:
                        await connection.execute("SELECT 1 / %(number)s", {"number": 0})

            async def fetch() -> None:
                assert await database.fetch(one) == [(1,)]

            async def write() -> None:
                async with database.writer() as connection:
                    await connection.execute("SELECT %(number)s", {"number": 1})
                    await connection.commit()

            for use in (read, read_wrong, fetch, write):
                await use()
                await asyncio.sleep(0.1)
                async with (
                    asyncio.timeout(60),
                    await psycopg.AsyncConnection.connect(bouncer.url(database_url), prepare_threshold=None) as other,
                ):
                    await other.execute("SELECT 1")
            await database.close()


async def test_a_read_is_one_round_trip(database_url: str) -> None:
    """Parse, Bind, Describe, Execute and Sync, sent at once."""
    kinds = bytearray()
    with run_bouncer(database_url, size=1) as bouncer:
        async with late_flushes(bouncer.port, kinds) as port:
            database = Database(replace(bouncer, port=port).url(database_url, sslmode="disable", gssencmode="disable"))
            one: Select[Any] = select(literal_column("1"))
            for _ in range(2):  # the first one on a new connection
                kinds.clear()
                assert await database.fetch(one) == [(1,)]
            assert kinds == b"PBDES"
            kinds.clear()
            async with database.statements() as connection:
                assert await fetch_value(connection, "SELECT %(number)s", {"number": 1}) == 1
            assert kinds == b"PBDES"
            await database.close()


async def test_a_read_ends_at_the_server_with_its_time(database_url: str) -> None:
    """The server is told by way of the pooler; one that waits for a server process of the pool ends, too."""
    with run_bouncer(database_url, size=1) as bouncer:
        url = bouncer.url(database_url)
        database, patient = Database(url, statement_timeout=0.3), Database(url)
        slow: Select[Any] = select(literal_column("pg_sleep(20)"))
        for ask in (database.fetch(slow), asyncio.wait_for(patient.fetch(slow), 0.3)):
            with pytest.raises((StoreTimeoutError, TimeoutError)):
                await ask
            running = (
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(20)%' AND state = 'active' "
                "AND datname = current_database()"
            )
            async with asyncio.timeout(10):
                while value(database_url, running):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        with psycopg.connect(url, prepare_threshold=None) as other:
            other.execute("SELECT 1")  # keeps the only process
            with pytest.raises(StoreTimeoutError):
                await database.fetch(slow)
        assert await database.fetch(select(literal_column("1"))) == [(1,)]
        await patient.close()
        await database.close()


async def test_a_reader_writes_at_once(database_url: str) -> None:
    with run_bouncer(database_url) as bouncer:
        database = Database(bouncer.url(database_url))
        async with database.statements() as connection:
            await connection.execute("INSERT INTO clients (yclients_id, company_id, phone) VALUES (1, 7, '79')")
            assert value(database_url, "SELECT count(*) FROM clients") == 1
        async with database.writer() as connection:
            await connection.execute("INSERT INTO clients (yclients_id, company_id, phone) VALUES (2, 7, '79')")
            assert value(database_url, "SELECT count(*) FROM clients") == 1
        assert value(database_url, "SELECT count(*) FROM clients") == 1
        await database.close()


async def test_a_statement_that_takes_too_long(database_url: str) -> None:
    with run_bouncer(database_url, size=1) as bouncer:
        before = bouncer.sessions(database_url)
        database = Database(bouncer.url(database_url), statement_timeout=0.2, pool_size=1)
        for connected in (database.statements, database.writer):
            with pytest.raises(StoreError, match=r"in time|too long"):
                async with connected() as connection:
                    await connection.execute("SELECT pg_sleep(5)")
        for at in range(5):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.02 * at + 0.001), database.statements() as connection:
                    await connection.execute("SELECT pg_sleep(0.1)")
            async with database.statements() as connection:
                assert await fetch_value(connection, "SELECT 1") == 1
        await database.close()
        assert bouncer.sessions(database_url) == before


async def test_a_session_that_was_taken_for_its_own(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pooler that greets with the number of the server's process is found out by the first error."""
    from app.stores.postgres.poolers import pooled_connection

    async def settle(*_: Any, is_pooled: bool, **__: Any) -> bool:
        if is_pooled:
            return await real(*_, is_pooled=is_pooled, **__)
        return False

    real = pooled_connection.settle
    monkeypatch.setattr("app.stores.postgres.connection_pool.settle", settle)
    with run_bouncer(database_url, size=1) as bouncer:
        url = bouncer.url(database_url)
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as other:
            other.execute("PREPARE _pg3_0 AS SELECT 'wrong'")
            database = Database(url)
            for _ in range(8):
                with suppress(UnavailableError):
                    async with database.statements() as connection:
                        assert await fetch_value(connection, "SELECT 'right'") == "right"
            assert database.is_pooled
            await database.close()
            database = Database(url)
            right: Select[Any] = select(literal_column("'right'"))
            for _ in range(8):
                assert await database.fetch(right) == [("right",)]
            assert database.is_pooled
            async with database.statements() as connection:
                for _ in range(8):
                    assert await fetch_value(connection, "SELECT 'right'") == "right"
            await database.close()
            for write in (_write, _upsert):
                database = Database(url)
                with pytest.raises(OutcomeUnknownError):
                    await write(database)
                assert database.is_pooled
                await database.close()


async def _write(database: Database) -> None:
    async with database.writer() as connection:
        for _ in range(8):
            await connection.execute("SELECT 'right'")


async def _upsert(database: Database) -> None:
    async with UnitOfWork(database) as work:
        for _ in range(8):
            await work.clients.upsert([{"yclients_id": 1, "company_id": 7, "phone": "79"}])


@pytest.mark.parametrize("parameters", [{}, {"pgbouncer": "true"}])
async def test_a_session_pooler(database_url: str, parameters: dict[str, str]) -> None:
    with run_bouncer(database_url, mode="session", size=12) as bouncer:
        url = bouncer.url(database_url, **parameters)
        async with open_data_layer(_settings(url)) as data:
            assert await _calls_of(data, 1) == _EACH


async def test_a_server_of_which_the_settings_say_that_it_is_a_pooler(database_url: str) -> None:
    async with open_data_layer(_settings(f"{database_url}&pgbouncer=true")) as data:
        assert await _calls_of(data, 1) == _EACH


async def test_a_server_is_asked_no_more_than_before(database_url: str) -> None:
    database = Database(database_url, statement_timeout=7)
    async with database.statements() as connection:
        assert connection.driver.prepare_threshold == 5
        assert connection.driver.cursor_factory is psycopg.AsyncCursor
        assert await fetch_value(connection, "SHOW statement_timeout") == "7s"
        assert await fetch_value(connection, "SHOW TimeZone") == "UTC"
    await database.close()


async def test_a_connection_that_waits_for_a_server_process_is_ended_with_its_pool(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with run_bouncer(database_url, size=1) as bouncer, psycopg.connect(bouncer.url(database_url)) as taker:
        taker.execute("SELECT 1")  # takes the only process, and keeps it
        before = asyncio.all_tasks()
        database = Database(bouncer.url(database_url), pool_size=1)
        reading = asyncio.create_task(database.fetch(select(text("1"))))
        async with asyncio.timeout(60):
            while not bouncer.waiting():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        reading.cancel()
        await database.close()
        await asyncio.wait({reading})
        assert reading.cancelled()
        assert asyncio.all_tasks() <= before
    assert caplog.messages == []
