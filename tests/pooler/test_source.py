"""A source is read through a transaction pooler, beside clients that leave their settings in its server processes."""

import asyncio
import uuid
from collections.abc import Coroutine, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.pq import ExecStatus

from app.stores.postgres.session import PATH, begin_snapshot, connect
from tests.cli.command import Command
from tests.migration.engine import add_clients, execute, row_texts
from tests.pooler.bouncer import Bouncer, run_bouncer
from tests.support.relay import Relay

_LEFT = """
SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Tokyo'; SET bytea_output = 'escape'; SET extra_float_digits = -10;
SET intervalstyle = 'sql_standard'; SET search_path = ''; SET statement_timeout = '200ms'; SET lock_timeout = '1ms';
SET idle_in_transaction_session_timeout = '5s'; SET client_min_messages = 'debug1'; SET row_security = on;
SET default_transaction_isolation = 'serializable'; SET default_transaction_deferrable = on;
SET standard_conforming_strings = off; SET transform_null_equals = on; SET session_replication_role = 'replica';
CREATE TEMP TABLE clients (id int); CREATE TEMP TABLE pg_class (oid int); CREATE TEMP TABLE pg_namespace (oid int);
CREATE TEMP TABLE pg_settings (name int)
"""
_COUNTED_ON = {
    "DateStyle": "ISO, YMD", "TimeZone": "UTC", "bytea_output": "hex", "extra_float_digits": "1",
    "IntervalStyle": "postgres", "search_path": "public, pg_temp", "statement_timeout": "0",
    "lock_timeout": "30s", "idle_in_transaction_session_timeout": "0", "client_min_messages": "error",
    "row_security": "off", "role": "none", "session_authorization": "postgres",
    "transaction_isolation": "read committed", "transaction_deferrable": "off",
    "transaction_read_only": "on", "application_name": "botdata copy",
}  # fmt: skip


def _leave(bouncer: Bouncer, url: str, settings: str) -> None:
    """In each server process of a pool."""
    others = [psycopg.connect(bouncer.url(url), prepare_threshold=None) for _ in range(bouncer.size)]
    for other in others:
        other.execute("SELECT")  # which gives it a process for itself
    for other in others:
        # In one message, since a limit holds from its own statement on.
        assert other.pgconn.exec_(f"{settings}; COMMIT".encode()).status == ExecStatus.COMMAND_OK
        other.close()


@pytest.fixture
def pool(source_database: str) -> Iterator[Bouncer]:
    """All of whose server processes have what another client left."""
    role = f"botdata_test_{uuid.uuid4().hex[:8]}"
    execute(source_database, f"CREATE ROLE {role}")
    add_clients(source_database, 300)
    execute(source_database, "UPDATE clients SET updated_at = now() - id * interval '1 hour 0.000001 s'")
    with run_bouncer(source_database) as bouncer:
        _leave(bouncer, source_database, f"{_LEFT}; SET SESSION AUTHORIZATION {role}")
        yield bouncer
    execute(source_database, f"DROP ROLE {role}")


async def test_no_statement_sees_what_others_left(pool: Bouncer, source_database: str) -> None:
    names = list(_COUNTED_ON)
    asked = "SELECT " + ", ".join(f"current_setting('{name}')" for name in names)
    async with await connect(pool.url(source_database), setting="--source", step="copy", read_only=True) as connection:
        answers = [await (await connection.execute(asked)).fetchone() for _ in range(2 * pool.size)]
        async with connection.transaction():
            answers.append(await (await connection.execute(asked)).fetchone())
        assert [dict(zip(names, answer or (), strict=True)) for answer in answers] == [_COUNTED_ON] * len(answers)
        await begin_snapshot(connection)
        answer = await (await connection.execute(asked)).fetchone()
        assert dict(zip(names, answer or (), strict=True)) == {
            **_COUNTED_ON,
            "transaction_isolation": "repeatable read",
        }


async def test_statements_of_several_tasks_have_a_transaction_each(pool: Bouncer, source_database: str) -> None:
    async with await connect(pool.url(source_database), setting="--source", step="copy", read_only=True) as connection:

        async def ask(number: int) -> str:
            if number % 5 == 0:
                with pytest.raises(psycopg.errors.DivisionByZero):
                    await connection.execute("SELECT 1 / 0")
            row = await (await connection.execute("SELECT current_setting('datestyle'), %s::int", [number])).fetchone()
            assert row is not None
            assert row[1] == number
            return str(row[0])

        assert await asyncio.gather(*(ask(number) for number in range(40))) == ["ISO, YMD"] * 40


async def test_statements_that_come_as_another_tasks_transaction_ends(pool: Bouncer, source_database: str) -> None:
    async with await connect(pool.url(source_database), setting="--source", step="copy", read_only=True) as connection:

        async def ask() -> object:
            return await (await connection.execute("SELECT current_setting('datestyle')")).fetchone()

        async def hold() -> object:
            async with connection.transaction(force_rollback=True):
                return await ask()

        asking = []
        for number in range(200):
            asking.append(asyncio.create_task(ask() if number % 20 else hold()))
            await asyncio.sleep(0)  # each comes at another moment of the transaction before it
        assert await asyncio.gather(*asking) == [("ISO, YMD",)] * len(asking)


async def test_a_limit_of_another_client_ends_no_transaction(source_database: str) -> None:
    with run_bouncer(source_database) as bouncer:
        _leave(bouncer, source_database, "SET idle_in_transaction_session_timeout = 1")
        url = bouncer.url(source_database)
        async with await connect(url, setting="--source", step="copy", read_only=True) as connection:
            for _ in range(2 * bouncer.size):
                assert await (await connection.execute("SELECT 1")).fetchone() == (1,)
            async with connection.transaction():
                await asyncio.sleep(0.01)
                assert await (await connection.execute("SELECT 1")).fetchone() == (1,)
            await begin_snapshot(connection)
            await asyncio.sleep(0.01)
            assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


@pytest.mark.parametrize("path", ["order, two-words", '"$user", public'])
async def test_a_path_that_wants_quotes_in_a_statement(database_url: str, path: str) -> None:
    """A file of settings may have such a one."""
    async with await AsyncConnection.connect(database_url) as connection:
        await connection.execute('CREATE SCHEMA "order"; CREATE SCHEMA "two-words"')
        await connection.execute("SELECT set_config('search_path', %s, false)", [path])
        (found,) = await (await connection.execute(PATH.encode())).fetchone() or ("",)
        await connection.execute(f"SET search_path = {found}".encode())
        (names,) = await (await connection.execute("SELECT current_schemas(false)")).fetchone() or ((),)
        assert names == (["order", "two-words"] if "order" in path else ["public"])
        await connection.rollback()


def test_why_a_pooler_ended_a_connection_is_said(command: Command, source_database: str, database_url: str) -> None:
    with run_bouncer(source_database, mode="statement") as bouncer:
        outcome = command("copy", DATABASE_URL=database_url, MIGRATION_SOURCE=bouncer.url(source_database))
        assert outcome.code == 1
        said = " ".join(outcome.err.split())
        assert "transaction blocks not allowed in statement pooling mode [SQLSTATE 08P01]" in said


def test_a_copy_goes_on_with_fewer_jobs_where_the_pool_is_small(
    command: Command, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 3)
    execute(source_database, "INSERT INTO companies (id, company_id) VALUES (1, 1)")
    with run_bouncer(source_database, size=2, query_wait_timeout=1) as bouncer:
        settings = {"DATABASE_URL": database_url, "MIGRATION_SOURCE": bouncer.url(source_database)}
        outcome = command("copy", "--tables", "clients,companies", **settings)
    assert outcome.code == 0, outcome
    said = "1 at a time in place of 2, for want of: the connection failed: query_wait_timeout"
    assert said in " ".join(outcome.err.split())
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


def test_all_rows_come_as_they_are(command: Command, pool: Bouncer, source_database: str, database_url: str) -> None:
    settings = {"DATABASE_URL": database_url, "MIGRATION_SOURCE": pool.url(source_database)}
    for line in ("preflight", "copy", "sync", "verify", "inventory"):
        outcome = command(*line.split(), **settings)
        assert outcome.code == (1 if line == "inventory" else 0), outcome
        assert "stopped" not in outcome.err
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")
    execute(source_database, "UPDATE clients SET notes = 'later' WHERE id % 7 = 0; DELETE FROM clients WHERE id = 8")
    assert command("sync", "--until-clean", **settings).code == 0
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


async def test_a_pooler_that_is_known_is_logged_in_to_once(source_database: str) -> None:
    with run_bouncer(source_database) as bouncer, Relay(("127.0.0.1", bouncer.port)) as relay:
        url = relay.way(source_database)
        for expected in (True, False):
            before = relay.accepted
            async with await connect(url, setting="--source", step="copy", read_only=True) as one:
                assert await (await one.execute("SELECT 1")).fetchall() == [(1,)]
            assert (relay.accepted - before > 1) is expected


async def test_who_waits_for_a_server_process_is_ended_without_it(
    source_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with run_bouncer(source_database, size=1) as bouncer:
        url = bouncer.url(source_database)

        async def reader() -> AsyncConnection:
            return await connect(url, setting="--source", step="copy", read_only=True)

        with psycopg.connect(url) as taker:
            taker.execute("SELECT 1")  # takes the only process, and keeps it
            await _ended_as_it_waits(bouncer, reader())  # as nothing is known of the address
        async with await reader() as known:
            with psycopg.connect(url) as taker:
                taker.execute("SELECT 1")
                await _ended_as_it_waits(bouncer, known.execute("SELECT 1"))
                assert known.closed
                await _ended_as_it_waits(bouncer, reader())
    assert caplog.messages == []  # psycopg tells of what it asked to be ended in vain


async def _ended_as_it_waits(bouncer: Bouncer, work: Coroutine[Any, Any, Any]) -> None:
    before = bouncer.waiting()  # one that has gone is counted until its turn comes
    waiting = asyncio.create_task(work)
    async with asyncio.timeout(60):
        while bouncer.waiting() <= before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
