"""What an administrator has set for the role, or its database, changes neither what is written nor what is sent."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from app.common.schemas import Schemas
from app.cutover.locks import HOLD_STAGE
from app.cutover.stages import Stage
from app.errors import UnrepresentableValueError
from app.models import Client, StaffSchedule
from app.state.cutover.journal import _NOTE
from app.stores.outgoing_write import OutgoingWrite
from app.stores.postgres.commit import transaction
from app.stores.postgres.database import Database
from tests.cutover.forward import NOTES, forward
from tests.cutover.outbox_writers import entries, somebody_waits, until, writer_of
from tests.fixtures.cutover import MakeSettings, Pair
from tests.support.page_server import PageServer

_SETTINGS = {
    "array_nulls": "off",
    "DateStyle": "German, DMY",
    "client_encoding": "WIN1251",
    "default_transaction_isolation": "repeatable read",
    "extra_float_digits": "-3",
    "standard_conforming_strings": "off",
    "TimeZone": "Asia/Kolkata",
}
_WRITES: tuple[tuple[Any, dict[str, Any]], ...] = (
    (
        Client,
        {
            "yclients_id": 7,
            "company_id": 1,
            "phone": "7999",
            "name": "Анна \\",
            "tags": ["a", None, "NULL"],
            "preferences": {"ё": [1.10, None]},
        },
    ),
    (StaffSchedule, {"staff_id": 1, "date": date(2026, 2, 3), "staff_name": "ё"}),
)


@pytest.fixture
def hostile(pair: Pair) -> Pair:
    ((name,),) = pair.ask("SELECT current_database()")
    for setting, value in _SETTINGS.items():
        pair.ask(f"ALTER DATABASE {name} SET {setting} = '{value}'")
    return pair


def _equal_rows(pair: Pair, table: str) -> list[str]:
    form = f"SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1"
    with psycopg.connect(pair.target, client_encoding="UTF8") as connection:
        target = [row[0] for row in connection.execute(form.encode())]
    assert target == [row[0] for row in pair.ask(form, store="source")]
    return target


async def test_a_mirror_to_postgres_is_equal(hostile: Pair, settings_of: MakeSettings) -> None:
    hostile.set_stage("dualwrite")
    async with forward(settings_of(mirror_wait=20.0)) as process:
        for model, row in _WRITES:
            await process.write(row, model=model)
    (client,) = _equal_rows(hostile, "clients")
    assert '"tags": ["a", null, "NULL"]' in client
    assert len(_equal_rows(hostile, "staff_schedules")) == 1


@pytest.mark.usefixtures("looks_often")
async def test_what_is_sent_to_supabase_is_equal(hostile: Pair, settings_of: MakeSettings) -> None:
    hostile.set_stage("live")
    async with writer_of(settings_of(mirror_wait=20)) as writer:
        for model, row in _WRITES:
            (stored,) = await writer.upsert(Stage.LIVE, model, [row], OutgoingWrite())
            assert {name: getattr(stored, name) for name in row} == row
    assert len(_equal_rows(hostile, "clients")) == len(_equal_rows(hostile, "staff_schedules")) == 1


async def test_a_sender_that_waited_sends_what_was_committed_meanwhile(
    hostile: Pair, settings_of: MakeSettings
) -> None:
    """At another level it would send the row as it was before it waited, over a newer one."""
    hostile.set_stage("live")
    async with writer_of(settings_of(mirror_wait=20)) as writer:
        with psycopg.connect(hostile.target) as other:
            other.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            write = {"yclients_id": 7, "company_id": 1, "phone": "7999", "name": "old"}
            other.execute(Schemas("public").named(HOLD_STAGE).encode())
            writing = asyncio.create_task(writer.upsert(Stage.LIVE, Client, [write], OutgoingWrite()))
            await until(lambda: somebody_waits(hostile))
            other.execute("UPDATE clients SET name = 'new'")
        await writing
    assert entries(hostile) == []
    (client,) = _equal_rows(hostile, "clients")
    assert '"name": "new"' in client


async def test_no_statement_is_compiled(hostile: Pair) -> None:
    """It takes longer than the statement, on a server that can, once PostgreSQL takes a statement for dear."""
    database = Database(hostile.target)
    async with database.reader() as connection:
        assert await connection.scalar(text("SHOW jit")) == "off"
    await database.close()
    given = {"stages": ["off"], "process": "a", "table": "clients", "keys": "[]"}
    with psycopg.connect(hostile.target) as other:
        explained = f"EXPLAIN (FORMAT JSON) {Schemas('public').named(_NOTE)}".encode()
        row = other.execute(explained, given).fetchone()  # through a pooler, where no setting is ours
        assert row is not None
        assert row[0][0]["Plan"]["Total Cost"] < 10_000


async def test_a_move_is_flushed_before_processes_can_see_it(pair: Pair) -> None:
    """A crash of the server could take it back, after they have gone by it."""
    async with await psycopg.AsyncConnection.connect(pair.target, autocommit=True) as connection:
        for own, during in (("off", "local"), ("local", "local"), ("remote_write", "remote_write")):
            await connection.execute(f"SET synchronous_commit = {own}".encode())
            async with transaction(connection, seconds=20):
                shown = await (await connection.execute("SHOW synchronous_commit")).fetchone()
            assert shown == (during,)


async def test_supabase_that_writes_keys_in_another_form_costs_no_row(pair: Pair, settings_of: MakeSettings) -> None:
    """Its row would be taken for one that is not there, and ours be deleted."""
    pair.set_stage("dualwrite")
    schedule = {"staff_id": 1, "date": date(2026, 2, 3), "staff_name": "ё"}
    pair.ask("INSERT INTO staff_schedules (staff_id, date) VALUES (1, '2026-02-03')")
    ((name,),) = pair.ask("SELECT current_database()", store="source")
    pair.ask(f"ALTER DATABASE {name} SET DateStyle = 'German'", store="source")
    try:
        with PageServer(pair.source) as pages:
            settings = settings_of(supabase_url=pages.url, supabase_key=pages.service_key, close_timeout=0.1)
            async with forward(settings) as process:
                with pytest.raises(UnrepresentableValueError):
                    await process.write(schedule, model=StaffSchedule)
                await until(lambda: [error for *_, error in pair.ask(NOTES) if error] != [])
    finally:
        pair.ask(f"ALTER DATABASE {name} RESET DateStyle", store="source")
    assert pair.ask(NOTES)[0][-1] == "Supabase writes keys of staff_schedules in another form: look at its DateStyle"
    assert len(pair.texts("staff_schedules", "target")) == 1
