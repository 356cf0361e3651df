"""What a pooler says when it cannot serve: every answer is a documented one, and a commit's is never a wrong "no"."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Select, literal_column, select

from app.data_layer import open_data_layer
from app.errors import DataError, UnavailableError
from app.migration.retry import Limits
from app.migration.sources.postgres.postgres_source import open_postgres_source
from app.repositories import UnitOfWork
from app.settings import Settings
from app.stores.postgres.database import Database
from tests.migration.engine import value
from tests.pooler.bouncer import Bouncer, failing, run_bouncer

_ONE: Select[Any] = select(literal_column("1"))
_CLIENT = {"yclients_id": 7, "company_id": 1, "phone": "79684484488", "name": "Анна"}
_READY = b"Z\0\0\0\5I"


def _error(code: str, *, severity: str = "FATAL", fields: str = "SV") -> bytes:
    body = b"".join(f"{field}{severity}\0".encode() for field in fields) + f"C{code}\0Mwords of a pooler\0\0".encode()
    return b"E" + (len(body) + 4).to_bytes(4, "big") + body


# By what their sources send (docs/scale-out.md names them).
_SAID = {
    "PgBouncer, about anything of its own": _error("08P01"),
    "PgCat, about anything": _error("58000") + _READY,
    "PgDog, about a pool that is down": _error("58000", severity="ERROR") + _READY,
    "PgDog, when it shuts down": _error("57P01"),
    "PgDog, to an idle client": _error("57P05"),
    "Supavisor, about anything": _error("XX000", fields="S"),
    "Supavisor, without a server": _error("08006", fields="S"),
    "Supavisor, when it shuts down": _error("57P01", fields="S"),
}


@asynccontextmanager
async def _answered(database_url: str, at: bytes, error: bytes) -> AsyncIterator[Database]:
    with run_bouncer(database_url, size=1) as bouncer:
        async with failing(bouncer.port, at, error) as port:
            url = replace(bouncer, port=port).url(database_url, sslmode="disable", gssencmode="disable")
            database = Database(url)
            assert await database.fetch(_ONE) == [(1,)]
            yield database
            await database.close()


async def _code(database: Database) -> str:
    """That of a write in a transaction of its own."""
    try:
        async with UnitOfWork(database) as work:
            await work.clients.upsert([_CLIENT])
            await work.commit()
    except DataError as error:
        return error.code
    return "ok"


@pytest.mark.parametrize("said", _SAID.values(), ids=_SAID)
async def test_what_they_say_of_a_source_can_pass(source_database: str, said: bytes) -> None:
    with run_bouncer(source_database) as bouncer:
        async with failing(bouncer.port, b"'lost'", said) as port:
            url = replace(bouncer, port=port).url(source_database, sslmode="disable", gssencmode="disable")
            async with open_postgres_source(url, step="copy", limits=Limits(attempts=1)) as source:
                with pytest.raises(UnavailableError):
                    await source.fetch(sql.SQL("SELECT {}").format(sql.Literal("lost")))
                assert await source.fetch(sql.SQL("SELECT {}").format(sql.Literal("found"))) == [("found",)]


@pytest.mark.parametrize("said", _SAID.values(), ids=_SAID)
async def test_what_other_poolers_say(database_url: str, said: bytes) -> None:
    written = "SELECT count(*) FROM clients"
    async with _answered(database_url, b"'lost'", said) as database:
        with pytest.raises(UnavailableError):
            await database.fetch(select(literal_column("'lost'")))
        assert await database.fetch(_ONE) == [(1,)]
    async with _answered(database_url, b'INSERT INTO "public".clients', said) as database:
        assert await _code(database) == "unavailable"
        assert value(database_url, written) == 0
    async with _answered(database_url, b"COMMIT\0", said) as database:
        assert await _code(database) == "outcome_unknown"
        assert await database.fetch(_ONE) == [(1,)]


async def test_an_internal_error_of_the_server_stays_one(database_url: str) -> None:
    async with _answered(
        database_url, b'INSERT INTO "public".clients', _error("XX000", severity="ERROR") + _READY
    ) as database:
        assert await _code(database) == "store_error"


async def _codes(bouncer: Bouncer, url: str) -> tuple[str | None, str | None]:
    """Of a read and of a write through the data layer."""
    settings = Settings(_env_file=None, use_repository_pattern=True, database_url=bouncer.url(url), query_timeout=6.0)
    async with open_data_layer(settings) as data:
        read, write = await asyncio.gather(data.get_client_by_id(7, 1), data.upsert_client(_CLIENT))
        return read.error_code, write.error_code


async def test_a_pool_with_nothing_free(database_url: str) -> None:
    with run_bouncer(database_url, size=1, query_wait_timeout=1) as bouncer:
        url = bouncer.url(database_url)
        with psycopg.connect(url, prepare_threshold=None) as other:
            other.execute("SELECT 1")  # keeps the only process
            with pytest.raises(UnavailableError):
                await Database(url).fetch(_ONE)
            assert await _codes(bouncer, database_url) == ("unavailable", "unavailable")
        assert await _codes(bouncer, database_url) == (None, None)


async def test_no_more_clients(database_url: str) -> None:
    with (
        run_bouncer(database_url, size=1, max_client_conn=1) as bouncer,
        psycopg.connect(bouncer.url(database_url)),
    ):
        assert await _codes(bouncer, database_url) == ("unavailable", "unavailable")


@pytest.mark.parametrize("command", ["KILL", "SHUTDOWN"])
async def test_its_administrator_ends_what_runs(database_url: str, command: str) -> None:
    name = value(database_url, "SELECT current_database()")
    with run_bouncer(database_url) as bouncer:
        database = Database(bouncer.url(database_url))
        reading = asyncio.create_task(database.fetch(select(literal_column("pg_sleep(20)"))))
        async with UnitOfWork(database) as work:
            await work.clients.upsert([_CLIENT])
            await asyncio.to_thread(bouncer.console, f"KILL {name}" if command == "KILL" else command)
            with pytest.raises(DataError) as committed:
                await work.commit()
        with pytest.raises(UnavailableError):
            await reading
        assert committed.value.code == "outcome_unknown"
        if command == "KILL":
            await asyncio.to_thread(bouncer.console, f"RESUME {name}")
            assert await database.fetch(_ONE) == [(1,)]
        await database.close()


async def test_a_paused_pool_is_waited_for(database_url: str) -> None:
    with run_bouncer(database_url) as bouncer:
        database = Database(bouncer.url(database_url))
        assert await database.fetch(_ONE) == [(1,)]
        await asyncio.to_thread(bouncer.console, "PAUSE")
        reading = asyncio.create_task(database.fetch(_ONE))
        await asyncio.sleep(0.3)
        assert not reading.done()
        await asyncio.to_thread(bouncer.console, "RESUME")
        assert await reading == [(1,)]
        await database.close()
