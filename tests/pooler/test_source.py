"""A source is read through a transaction pooler, beside clients that leave their settings in its server processes."""

import asyncio
import uuid
from collections.abc import Iterator

import psycopg
import pytest

from app.stores.postgres.session import begin_snapshot, connect
from tests.cli.command import Command
from tests.migration.engine import add_clients, execute, row_texts
from tests.pooler.bouncer import Bouncer, run_bouncer

_LEFT = """
SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Tokyo'; SET bytea_output = 'escape'; SET extra_float_digits = -10;
SET intervalstyle = 'sql_standard'; SET search_path = ''; SET statement_timeout = '200ms'; SET lock_timeout = '1ms';
SET idle_in_transaction_session_timeout = '5s'; SET client_min_messages = 'debug1'; SET row_security = on;
SET default_transaction_isolation = 'serializable'; SET default_transaction_deferrable = on;
CREATE TEMP TABLE clients (id int)
"""
_COUNTED_ON = {
    "DateStyle": "ISO, YMD", "TimeZone": "UTC", "bytea_output": "hex", "extra_float_digits": "1",
    "IntervalStyle": "postgres", "search_path": '"$user", public, pg_temp', "statement_timeout": "0",
    "lock_timeout": "30s", "idle_in_transaction_session_timeout": "0", "client_min_messages": "error",
    "row_security": "off", "role": "none", "transaction_isolation": "read committed",
    "transaction_deferrable": "off", "transaction_read_only": "on", "application_name": "botdata copy",
}  # fmt: skip


@pytest.fixture
def pool(source_database: str) -> Iterator[Bouncer]:
    """All of whose server processes have what another client left."""
    role = f"botdata_test_{uuid.uuid4().hex[:8]}"
    execute(source_database, f"CREATE ROLE {role}")
    add_clients(source_database, 300)
    execute(source_database, "UPDATE clients SET updated_at = now() - id * interval '1 hour 0.000001 s'")
    with run_bouncer(source_database) as bouncer:
        others = [psycopg.connect(bouncer.url(source_database), prepare_threshold=None) for _ in range(bouncer.size)]
        for other in others:
            other.execute(f"{_LEFT}; SET ROLE {role}")
        for other in others:
            other.commit()
            other.close()
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


def test_all_rows_come_as_they_are(command: Command, pool: Bouncer, source_database: str, database_url: str) -> None:
    settings = {"DATABASE_URL": database_url, "MIGRATION_SOURCE": pool.url(source_database)}
    for line in ("preflight", "copy", "sync", "verify", "inventory"):
        outcome = command(*line.split(), **settings)
        assert outcome.code == (1 if line == "inventory" else 0), outcome
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")
    execute(source_database, "UPDATE clients SET notes = 'later' WHERE id % 7 = 0; DELETE FROM clients WHERE id = 8")
    assert command("sync", "--until-clean", **settings).code == 0
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")
