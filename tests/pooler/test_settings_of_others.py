"""What another client of the pool has set, or an administrator for the role, changes no answer and no written row."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from app.data_layer import DataLayer, open_data_layer
from app.settings import Settings
from app.stores.postgres.database import Database
from tests.contract.stores import Clock, insert
from tests.migration.engine import execute, query, value
from tests.pooler.bouncer import run_bouncer
from tests.pooler.every_call import READS, SALON, TABLES, WRITES, answers, fill

_HOSTILE = {
    "TimeZone": "Asia/Kolkata",
    "DateStyle": "German, DMY",
    "IntervalStyle": "iso_8601",
    "bytea_output": "escape",
    "extra_float_digits": "-3",
    "search_path": "other",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "xmloption": "document",
    "synchronous_commit": "local",
    "default_transaction_isolation": "serializable",
}
_WRITTEN = ("clients", "companies", "dialog_contexts", "services", "staff_schedules")
_BY_THE_STORE = "{id,created_at,updated_at,last_activity}"


def _fill(url: str) -> None:
    """A row in each table, one that Python cannot hold, and decoys of another schema."""
    fill(url)
    unheld = {"yclients_id": "70", "company_id": str(SALON), "phone": "7", "name": "Борис", "total_spent": "0.1"}
    insert(url, "clients", {**unheld, "id": "70", "last_sync_at": "infinity"})
    execute(url, "CREATE SCHEMA other")
    for table in TABLES:
        execute(url, f"CREATE TABLE other.{table} AS SELECT t.* FROM public.{table} t, generate_series(1, 3)")


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[DataLayer]:
    settings = Settings(_env_file=None, use_repository_pattern=True, database_url=url, database_pool_size=1)
    async with open_data_layer(settings, clock=Clock()) as data:
        yield data


async def _read(data: DataLayer) -> dict[str, str]:
    return {**await answers(data, READS), "unheld": str((await data.get_client_by_id(70, SALON)).error)}


def _rows(url: str) -> list[Any]:
    return [
        query(url, f"SELECT (to_jsonb(t) - '{_BY_THE_STORE}'::text[])::text FROM public.{table} t ORDER BY 1")
        for table in _WRITTEN
    ]


async def _used(url: str) -> dict[str, str]:
    """What is read, before every method has written."""
    async with _opened(url) as data:
        read = await _read(data)
        await answers(data, WRITES)
    return {name: answer for name, answer in read.items() if name != "health_check"}  # which has a time in it


@pytest.mark.parametrize("whose", ["another client's", "the role's"])
async def test_no_answer_changes(database_url: str, source_database: str, whose: str) -> None:
    for url in (database_url, source_database):
        _fill(url)
    expected = await _used(source_database)
    assert "last_sync_at" in expected["unheld"]
    name = value(database_url, "SELECT current_database()")
    with run_bouncer(database_url, size=1) as bouncer:
        pooled = bouncer.url(database_url)
        for setting, hostile in _HOSTILE.items() if whose == "the role's" else ():
            execute(database_url, f"ALTER ROLE postgres IN DATABASE {name} SET {setting} = {_literal(hostile)}")
        with psycopg.connect(pooled, autocommit=True, prepare_threshold=None) as other:
            if whose != "the role's":
                for setting, hostile in _HOSTILE.items():
                    other.execute(f"SET {setting} = {_literal(hostile)}".encode())
            before = bouncer.sessions(database_url)
            assert before[0]["settings"]["extra_float_digits"] == _HOSTILE["extra_float_digits"]
            assert await _used(pooled) == expected
            assert bouncer.sessions(database_url) == before
    assert _rows(database_url) == _rows(source_database)


def _literal(hostile: str) -> str:
    return hostile if hostile == "other" else f"'{hostile}'"


async def test_a_transaction_lasts_and_reads_what_was_committed(database_url: str) -> None:
    own = value(database_url, "SHOW synchronous_commit")
    with run_bouncer(database_url, size=1) as bouncer:
        url = bouncer.url(database_url)
        database = Database(url)
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as other:
            other.execute(
                "SET synchronous_commit = local; SET default_transaction_isolation = 'repeatable read'; "
                "SET client_min_messages = error"  # would hide a commit's warning
            )
            for _ in range(2):
                async with database.writer() as connection:
                    assert await connection.scalar(text("SHOW synchronous_commit")) == own
                    assert await connection.scalar(text("SHOW transaction_isolation")) == "read committed"
                    assert await connection.scalar(text("SHOW client_min_messages")) == "warning"
                    assert await connection.scalar(text("SHOW jit")) == "off"
                async with database.reader() as connection:  # after which SQLAlchemy puts its own level back
                    assert await connection.scalar(text("SHOW synchronous_commit")) == "local"
        await database.close()


async def test_what_another_client_has_left_in_temporary_tables_takes_no_write(database_url: str) -> None:
    with run_bouncer(database_url, size=1) as bouncer:
        url = bouncer.url(database_url)
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as other:
            other.execute("CREATE TEMPORARY TABLE clients (LIKE public.clients INCLUDING ALL)")
            async with _opened(url) as data:
                await answers(data, {"upsert_client": WRITES["upsert_client"]})
    assert value(database_url, "SELECT count(*) FROM public.clients") == 1
