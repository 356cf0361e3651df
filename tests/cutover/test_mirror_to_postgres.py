"""Rows that are written to Supabase are in PostgreSQL a moment later, equal as text."""

from __future__ import annotations

import asyncio
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from app import models
from app.cutover.locks import HOLD_KEYS
from app.cutover.replication.to_postgres.applier import AuthorityUnreadError, PostgresApplier
from app.cutover.stages import Stage
from app.errors import AuthorityMovedError, RejectedError, StoreError
from app.stores.postgres.database import Statements
from app.stores.supabase.grammar import LONGEST_ADDRESS
from tests.cutover.forward import Forward, forward, until
from tests.fixtures.cutover import MakeSettings, Pair

CLIENT = {"yclients_id": 7, "company_id": 1, "phone": "79990000001", "name": "Анна"}
KEY = ("7", "1")
WRITES: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "clients": (
        models.Client,
        [
            CLIENT
            | {
                "total_spent": Decimal("9999999999.99"),
                "tags": ["a,b", 'c"d', "", "NULL"],
                "branch_ids": [],
                "visit_history": {"number": 0.1, "big": 12345678901234567890123, "null": None, "text": "\\u0000 ё"},
                "last_visit_date": date(1, 1, 1),
            }
        ],
    ),
    "companies": (models.Company, [{"company_id": 1, "title": "Салон", "coordinate_lat": Decimal("55.1234567")}]),
    "services": (
        models.Service,
        [{"yclients_id": 3, "company_id": 1, "title": "Стрижка", "price_min": Decimal("0.10"), "raw_data": [1.0, "x"]}],
    ),
    "staff_schedules": (
        models.StaffSchedule,
        [
            {"staff_id": staff, "date": date(2026, 11, 1) + timedelta(day), "work_start": time(9), "work_end": time.max}
            for staff in (1, 2)
            for day in range(3)
        ],
    ),
    "dialog_contexts": (
        models.DialogContext,
        [{"user_id": 'a,b)"\\ %:ё', "data": {"a": [1, 2]}}, {"user_id": "79990000001", "messages": []}],
    ),
}


def mirror_of(process: Forward) -> PostgresApplier:
    return PostgresApplier(process.rest, process.database)


@pytest.mark.parametrize("table", WRITES)
async def test_a_write_reaches_both_stores_and_its_note_goes(pair: Pair, settings_of: MakeSettings, table: str) -> None:
    pair.set_stage("dualwrite")
    model, rows = WRITES[table]
    async with forward(settings_of(mirror_wait=20.0)) as process:
        await process.write(*rows, model=model)
        assert len(pair.texts(table, "source")) == len(rows)
        assert pair.texts(table, "target") == pair.texts(table, "source")
        assert pair.ask("SELECT FROM botdata.notes") == []
        assert process.writer.pending == process.writer.spooled == 0
        assert process.metrics.total("mirrors", outcome="sent", store="postgres") == 1
    assert pair.ask("SELECT left_at FROM botdata.last_left_note") == [(None,)]


async def test_at_stage_off_nothing_is_noted_or_mirrored(pair: Pair, settings_of: MakeSettings) -> None:
    async with forward(settings_of(mirror_wait=20.0)) as process:
        process.stage = Stage.OFF
        await process.write(CLIENT)
    assert len(pair.texts("clients", "source")) == 1
    assert pair.texts("clients", "target") == []
    assert pair.ask("SELECT last_value, is_called FROM botdata.notes_id_seq") == [(1, False)]


async def test_values_that_python_cannot_hold_go_over_as_they_are(pair: Pair, settings_of: MakeSettings) -> None:
    pair.ask(
        "INSERT INTO clients (id, yclients_id, company_id, phone, created_at, first_visit_date, visit_history) VALUES "
        "(5, 7, 1, 'x', 'infinity', '0044-03-15 BC', '{\"a\": 1.10, \"b\": 1e400}')",
        store="source",
    )
    async with forward(settings_of()) as process:
        await mirror_of(process).mirror(models.Client, [KEY])
    assert pair.texts("clients", "target") == pair.texts("clients", "source") != []


async def test_a_key_whose_id_has_changed_and_a_row_that_is_gone(pair: Pair, settings_of: MakeSettings) -> None:
    insert = "INSERT INTO clients (id, yclients_id, company_id, phone, name) VALUES (%s, %s, 1, 'x', %s)"
    for row in ((5, 7, "old"), (6, 8, "deleted"), (9, 9, "not asked")):
        pair.ask(insert, *row)
    for row in ((6, 7, "new"), (9, 9, "other")):
        pair.ask(insert, *row, store="source")
    async with forward(settings_of()) as process:
        await mirror_of(process).mirror(models.Client, [KEY, ("8", "1"), ("404", "1")])
    assert pair.ask("SELECT id, yclients_id, name FROM clients ORDER BY id") == [
        (6, 7, "new"),
        (9, 9, "not asked"),
    ]


async def test_of_keys_with_two_columns_only_those_asked_for_are_written(pair: Pair, settings_of: MakeSettings) -> None:
    rows = "(1, '2026-01-01'), (1, '2026-01-02'), (2, '2026-01-01'), (2, '2026-01-02')"
    pair.ask(f"INSERT INTO staff_schedules (staff_id, date) VALUES {rows}", store="source")
    async with forward(settings_of()) as process:
        await mirror_of(process).mirror(models.StaffSchedule, [("1", "2026-01-01"), ("2", "2026-01-02")])
    found = pair.ask("SELECT staff_id, date::text FROM staff_schedules ORDER BY 1")
    assert found == [(1, "2026-01-01"), (2, "2026-01-02")]


async def test_the_last_mirror_is_right_whatever_the_order(pair: Pair, settings_of: MakeSettings) -> None:
    """It reads the row after it has the key, so that what was written while it waited is in it."""
    write = "INSERT INTO clients (yclients_id, company_id, phone, name) VALUES (7, 1, 'x', 'first')"
    pair.ask(write, store="source")
    async with forward(settings_of()) as process:
        async with process.database.writer() as connection:
            await connection.execute(HOLD_KEYS, {"table": "clients", "keys": '[["7","1"]]'})
            late = asyncio.create_task(mirror_of(process).mirror(models.Client, [KEY]))
            waiting = "SELECT FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
            await until(lambda: len(pair.ask(waiting)) == 1)
            pair.ask("UPDATE clients SET name = 'second'", store="source")
        await late
    assert pair.ask("SELECT name FROM clients") == [("second",)]


@pytest.mark.parametrize("stage", ["live", "rampdown", "complete"])
async def test_once_postgresql_is_the_authority_nothing_is_copied_over_its_rows(
    pair: Pair, settings_of: MakeSettings, stage: str
) -> None:
    pair.ask("INSERT INTO clients (yclients_id, company_id, phone) VALUES (7, 1, 'x')", store="source")
    pair.set_stage(stage)
    async with forward(settings_of()) as process:
        with pytest.raises(AuthorityMovedError, match=stage):
            await mirror_of(process).mirror(models.Client, [KEY])
    assert pair.texts("clients", "target") == []


async def test_a_move_of_the_stage_waits_for_a_mirror(pair: Pair, settings_of: MakeSettings) -> None:
    async with forward(settings_of()) as process:

        async def settle(connection: Any) -> None:
            with psycopg.connect(pair.target) as other, pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("SELECT FROM botdata.stage FOR UPDATE NOWAIT")

        await mirror_of(process).mirror(models.Client, [KEY], settle)


async def test_a_move_of_the_stage_does_not_wait_for_supabase(pair: Pair, settings_of: MakeSettings) -> None:
    """Mirrors that follow on each other would keep it waiting for ever; one that sees it made writes nothing."""
    pair.ask("INSERT INTO clients (yclients_id, company_id, phone) VALUES (7, 1, 'x')", store="source")
    pair.set_stage("shadow")
    moved = []

    async def move(_request: Any) -> None:
        with psycopg.connect(pair.target) as other:
            other.execute("SET lock_timeout = '1s'")
            other.execute("UPDATE botdata.stage SET stage = 'live', moved_at = now()")
        moved.append(True)

    async with forward(settings_of()) as process:
        process.rest._session.event_hooks["request"] = [move]
        with pytest.raises(AuthorityMovedError, match="live"):
            await mirror_of(process).mirror(models.Client, [KEY])
    assert moved == [True]
    assert pair.texts("clients", "target") == []


async def test_a_process_that_is_stopped_in_a_mirror_gives_its_locks_back(
    pair: Pair, settings_of: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cutover.replication.to_postgres.applier._SILENT", 0.0)

    async def stop(_connection: Any) -> None:
        held = (
            "SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
            "WHERE l.locktype = 'advisory' AND d.datname = current_database()"
        )
        assert pair.ask(held) != []
        await until(lambda: pair.ask(held) == [])  # by the server: nothing else happens here

    async with forward(settings_of()) as process:
        mirror = PostgresApplier(process.rest, process.database, timeout=1.5)
        with pytest.raises(StoreError):
            await mirror.mirror(models.Client, [KEY], stop)


async def test_an_authority_that_does_not_answer_changes_nothing(pair: Pair, settings_of: MakeSettings) -> None:
    pair.ask("INSERT INTO clients (yclients_id, company_id, phone) VALUES (7, 1, 'x')")
    async with forward(settings_of(supabase_url="http://127.0.0.1:1")) as process:
        with pytest.raises(AuthorityUnreadError, match="cannot be reached"):
            await mirror_of(process).mirror(models.Client, [KEY])
    assert len(pair.texts("clients", "target")) == 1


async def test_a_row_that_the_target_refuses_is_neither_cut_nor_half_written(
    pair: Pair, settings_of: MakeSettings
) -> None:
    pair.ask("INSERT INTO clients (yclients_id, company_id, phone, name) VALUES (7, 1, 'x', 'four')", store="source")
    pair.ask("INSERT INTO clients (id, yclients_id, company_id, phone, name) VALUES (99, 7, 1, 'x', 'one')")
    pair.ask("ALTER TABLE clients ALTER name TYPE varchar(3)")
    async with forward(settings_of()) as process:
        with pytest.raises(RejectedError):
            await mirror_of(process).mirror(models.Client, [KEY])
    assert pair.ask("SELECT id, name FROM clients") == [(99, "one")]


async def test_a_large_batch_is_a_few_statements_and_requests(
    pair: Pair, settings_of: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.set_stage("shadow")
    rows = [{**CLIENT, "yclients_id": 100_000_000 + number} for number in range(500)]
    async with forward(settings_of(mirror_wait=60.0, note_timeout=30.0)) as process:
        process.stage = Stage.SHADOW
        statements: list[str] = []
        requests: list[str] = []
        session = process.rest._session
        session.event_hooks["request"] = [_kept_in(requests)]

        execute = Statements.execute

        async def kept(on: Statements, statement: str, *given: Any) -> Any:
            if on._database is process.database:
                statements.append(statement)
            return await execute(on, statement, *given)

        monkeypatch.setattr(Statements, "execute", kept)
        await process.write(*rows)
    assert pair.texts("clients", "target") == pair.texts("clients", "source")
    assert len(pair.texts("clients", "target")) == 500
    assert 0 < len(statements) <= 8
    assert [request.split("?")[0].split()[0] for request in requests[:1]] == ["POST"]
    assert len(requests) <= 8
    assert max(map(len, requests)) < len("POST http://127.0.0.1:65535") + LONGEST_ADDRESS


def _kept_in(requests: list[str]) -> Any:
    async def keep(request: Any) -> None:
        requests.append(f"{request.method} {request.url}")

    return keep
