"""Connections that the server ends, idle or in a transaction that takes too long, and those given up half-made."""

from __future__ import annotations

import asyncio
import gc
import sys
from select import select as select_readable
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import select

from app.errors import StoreTimeoutError, UnavailableError
from app.models import Client
from app.state.fetching import fetch_value
from app.stores.postgres.connection_pool import ConnectionPool, PooledConnection
from app.stores.postgres.database import Database
from tests.support.relay import Relay, postgres_address

_CLIENTS = select(Client.__table__.c.id)


async def test_a_lost_connection_is_replaced_without_a_word(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)  # where a coroutine that nobody awaits ends up
    for _ in range(3):
        assert await database.fetch(_CLIENTS) == []
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    assert await database.fetch(_CLIENTS) == []
    gc.collect()
    assert said == []


class _Closing(ConnectionPool):
    """Whose server ends each connection as soon as it is made, from some time on."""

    from_now_on = False

    async def _make(self) -> PooledConnection:
        made = await super()._make()
        if self.from_now_on:
            made.driver.pgconn.send_query(b"SELECT pg_terminate_backend(pg_backend_pid())")
            select_readable([made.driver.fileno()], [], [], 10)
        return made


async def test_new_connections_that_are_closed_at_once(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.stores.postgres.database.ConnectionPool", _Closing)
    database = Database(database_url)

    async def read() -> None:
        async with database.statements() as connection:
            await connection.fetch(_CLIENTS)

    async def write() -> None:
        async with database.writer():
            pass

    try:
        async with database.driver() as driver:
            monkeypatch.setattr(_Closing, "from_now_on", True)
            await driver.close()
        for call in (read, write, lambda: database.fetch(_CLIENTS)):
            with pytest.raises(UnavailableError, match="as soon as they are made"):
                await call()
    finally:
        await database.close()


async def test_a_transaction_that_takes_too_long_is_a_timeout(database: Database) -> None:
    async with database.statements() as connection:
        if int(await fetch_value(connection, "SHOW server_version_num")) < 170000:
            pytest.skip("PostgreSQL 17 brought transaction_timeout")

    async def write_slowly() -> None:
        async with database.writer() as connection:
            await connection.execute("SET LOCAL transaction_timeout = 50")
            await connection.execute("SELECT pg_sleep(10)")

    with pytest.raises(StoreTimeoutError, match="25P04"):
        await write_slowly()
    assert await database.fetch(_CLIENTS) == []


async def test_one_that_is_given_up_at_any_moment_of_its_making_is_closed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[psycopg.AsyncConnection[Any]] = []

    class Recorded(ConnectionPool):
        async def _make(self) -> PooledConnection:
            pooled = await super()._make()
            made.append(pooled.driver)
            return pooled

    monkeypatch.setattr("app.stores.postgres.database.ConnectionPool", Recorded)
    is_made, turns = False, 1
    while not is_made:
        database = Database(database_url)
        reading = asyncio.create_task(database.fetch(_CLIENTS))
        for _ in range(turns):
            await asyncio.sleep(0.0002)
        is_made = reading.done()
        await database.close()
        await asyncio.gather(reading, return_exceptions=True)
        turns += 1
    assert made
    async with asyncio.timeout(60):
        while not all(connection.closed for connection in made):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_one_that_is_given_up_as_it_is_handed_out_is_not_forgotten(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine psycopg lets others go first even where it has nothing to wait for."""
    is_asked = asyncio.Event()
    set_autocommit = psycopg.AsyncConnection.set_autocommit

    async def late(self: psycopg.AsyncConnection[Any], value: bool) -> None:
        if not len(database._pool._making):  # it is made
            is_asked.set()
            await asyncio.sleep(0.05)
        await set_autocommit(self, value)

    monkeypatch.setattr(psycopg.AsyncConnection, "set_autocommit", late)
    database = Database(database_url)
    returned: list[object] = []
    put_back = database._pool.put_back
    monkeypatch.setattr(database._pool, "put_back", lambda *one, **how: (returned.append(one), put_back(*one, **how)))

    async def read() -> None:
        await database.fetch(_CLIENTS)

    reading = asyncio.create_task(read())
    await is_asked.wait()
    await database.close()
    await asyncio.gather(reading, return_exceptions=True)
    assert len(returned) == 1


async def test_none_is_closed_under_a_caller_who_still_waits(database_url: str) -> None:
    """Who is cancelled waits for the server's word on that; psycopg crashes where the connection is closed then."""
    with Relay(postgres_address(database_url)) as relay:
        database = Database(relay.way(database_url))

        taken: asyncio.Future[psycopg.AsyncConnection[Any]] = asyncio.Future()

        async def read() -> None:
            async with database.driver() as connection:
                taken.set_result(connection)
                relay.hang()
                await connection.execute("SELECT FROM clients")

        reading = asyncio.create_task(read())
        connection = await taken
        while connection.info.transaction_status != TransactionStatus.ACTIVE:  # noqa: ASYNC110
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.sleep(0)
        await database.close()
        assert reading.done() or not connection.closed
        relay.heal()
        await asyncio.wait({reading})
        assert connection.closed


async def test_one_that_is_made_for_a_caller_who_has_gone_is_the_next_ones(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers who wait for less than a login takes would never have one; and the pool has no more than it may."""
    made: list[PooledConnection] = []
    go_on = asyncio.Event()

    class Slow(ConnectionPool):
        async def _make(self) -> PooledConnection:
            made.append(await super()._make())
            await go_on.wait()
            return made[-1]

    monkeypatch.setattr("app.stores.postgres.database.ConnectionPool", Slow)
    database = Database(database_url, pool_size=1)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await database.fetch(_CLIENTS)
    waiting = asyncio.create_task(database.fetch(_CLIENTS))
    while not made:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    go_on.set()
    assert await waiting == []
    assert await database.fetch(_CLIENTS) == []
    assert len(made) == 1
    await database.close()
    assert made[0].driver.closed


async def test_one_that_nobody_waits_for_any_more_is_idle_when_it_is_made(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[PooledConnection] = []

    class Recorded(ConnectionPool):
        async def _make(self) -> PooledConnection:
            made.append(await super()._make())
            return made[-1]

    monkeypatch.setattr("app.stores.postgres.database.ConnectionPool", Recorded)
    database = Database(database_url, pool_size=1)
    reading = asyncio.create_task(database.fetch(_CLIENTS))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait({reading})
    async with asyncio.timeout(10):
        while not database._pool._idle:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await database.fetch(_CLIENTS) == []
    assert len(made) == 1
    await database.close()


async def test_no_session_from_a_read_only_time_is_kept(database: Database, database_url: str) -> None:
    async def write() -> None:
        async with database.transaction() as connection:
            await connection.execute("UPDATE clients SET name = name")

    name = "(SELECT quote_ident(current_database()))"
    alter = f"DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || {name} || ' %s default_transaction_read_only%s'; END $$"
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute((alter % ("SET", " = on")).encode())
        try:
            for _ in range(2):
                with pytest.raises(UnavailableError, match="read-only"):
                    await write()
        finally:
            other.execute("SET default_transaction_read_only = off")
            other.execute((alter % ("RESET", "")).encode())
    await write()
