"""What is on its way between the stores is no difference, and what can never be known is none either."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from app.cutover.shadow.diff import RowKey
from app.cutover.shadow.settling import Settling
from app.cutover.stages import Stage
from app.data_layer import DataLayer
from app.stores.postgres.database import Database
from tests.cutover.comparing import Kept, both, causes, compared, kept
from tests.fixtures.cutover import MakeSettings, Pair
from tests.support.rounds import Rounds

SALON = 5
ONE = {"id": 7, "yclients_id": 7, "company_id": SALON, "title": "Cut", "price_min": "100.4"}
NOTE = "INSERT INTO botdata.notes (process, table_name, key) VALUES ('q', 'services', '{%s,5}')"
ENTRY = "INSERT INTO botdata.outbox (process, table_name, key) VALUES ('q', 'services', '{%s,5}')"
PROCESS = "INSERT INTO botdata.processes (name, stage, chosen_by, spooled) VALUES ('q', 'shadow', 'x', %s)"
FIX = "UPDATE services SET price_min = 100.4"


def ask(data: DataLayer) -> Awaitable[Any]:
    return data.get_service_by_id(7, SALON)


async def until_compared(data: DataLayer, pair: Pair, statement: str) -> None:
    """Run a statement again and again, as what it stands for is done, until the comparison has ended."""
    while data.metrics.total("comparisons") == 0:
        pair.ask(statement)
        await asyncio.sleep(0.1)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    """The looks at what is on its way, which nothing is left out of for being late."""
    monkeypatch.setattr("app.cutover.shadow.settling._PATIENCE", 60.0)
    return Rounds(monkeypatch, Settling, "_look")


@pytest.fixture
def differing(pair: Pair) -> Pair:
    """Two stores with one service, of different prices."""
    both(pair, "services", ONE)
    pair.ask("UPDATE services SET price_min = 100.5")
    return pair


@pytest.mark.parametrize("waiting", [NOTE, ENTRY])
@pytest.mark.parametrize("stage", ["shadow", "live"])
async def test_a_row_that_is_on_its_way_is_waited_for(
    differing: Pair, settings_of: MakeSettings, waiting: str, stage: str, looks: Rounds
) -> None:
    differing.ask(waiting % 7)
    async with compared(settings_of(compare_deadline=60.0, close_timeout=60.0), stage) as data:
        await ask(data)
        await looks.go_by()
        assert data.metrics.total("comparisons") == 0  # it waits
        differing.ask(f"BEGIN; {FIX}; DELETE FROM botdata.notes; DELETE FROM botdata.outbox; COMMIT")
    assert kept(differing, "get_service_by_id") == Kept(1, 1, 0, 0, 0)


@pytest.mark.parametrize("waiting", [NOTE % 7, ENTRY % 7, PROCESS % 1])
async def test_what_does_not_arrive_in_time_is_not_counted(
    differing: Pair, settings_of: MakeSettings, waiting: str
) -> None:
    differing.ask(waiting)
    async with compared(settings_of(compare_deadline=0.7)) as data:
        await ask(data)
    assert kept(differing, "get_service_by_id") == Kept(1, 0, 0, 0, 1)
    assert data.metrics.total("comparisons", reason="unsettled") == 1


async def test_other_rows_on_their_way_do_not_matter(differing: Pair, settings_of: MakeSettings) -> None:
    differing.ask(NOTE % 8)
    differing.ask(ENTRY % 8)
    async with compared(settings_of(compare_deadline=10.0)) as data:
        await ask(data)
    assert kept(differing, "get_service_by_id") == Kept(1, 0, 1, 0, 0)


async def test_a_process_that_has_not_reported_since_may_have_it_in_its_spool(
    differing: Pair, settings_of: MakeSettings, looks: Rounds
) -> None:
    differing.ask(PROCESS % 0)
    async with compared(settings_of(compare_deadline=60.0, close_timeout=60.0)) as data:
        await ask(data)
        await looks.go_by()
        assert data.metrics.total("comparisons") == 0
        await until_compared(data, differing, "UPDATE botdata.processes SET reported_at = clock_timestamp()")
    assert kept(differing, "get_service_by_id") == Kept(1, 0, 1, 0, 0)


async def test_a_report_of_before_the_answers_says_nothing_of_what_they_hold(pair: Pair, looks: Rounds) -> None:
    database = Database(pair.target)
    settling = Settling(database, [RowKey("services", ("7", "5"))], (), ())
    await settling.begin(Stage.SHADOW)
    pair.ask(PROCESS % 0)  # and then it writes a row, which it notes in its spool, and the stores are asked
    arriving = asyncio.create_task(settling.arrived())
    await looks.go_by()
    assert not arriving.done()
    while not arriving.done():
        pair.ask("UPDATE botdata.processes SET reported_at = clock_timestamp()")
        await asyncio.sleep(0.1)
    assert await arriving == set()
    await database.close()


async def test_a_stage_that_moves_meanwhile_says_nothing(
    differing: Pair, settings_of: MakeSettings, looks: Rounds
) -> None:
    differing.set_stage("shadow")
    differing.ask(NOTE % 7)
    async with compared(settings_of(compare_deadline=60.0, close_timeout=60.0)) as data:
        await ask(data)
        await looks.go_by()
        differing.set_stage("live")
        differing.ask("DELETE FROM botdata.notes")
    assert data.metrics.total("comparisons", outcome="skipped", reason="stage moved") == 1


async def test_a_planted_row_is_found_behind_rows_that_never_settle(pair: Pair, settings_of: MakeSettings) -> None:
    both(pair, "services", *[{**ONE, "id": n, "yclients_id": n, "duration": "60"} for n in range(1, 16)])
    pair.ask("UPDATE services SET price_min = 9 WHERE id < 15")
    pair.ask("UPDATE services SET duration = 61 WHERE id = 15")
    for n in range(1, 15):
        pair.ask(NOTE % n)
    async with compared(settings_of()) as data:
        await data.get_services(SALON)
    assert causes(pair) == [("get_services", "duration (int)", 1)]


BOOKING = {"id": "00000000-0000-0000-0000-000000000001", "yclients_record_id": 1, "company_id": SALON,
           "client_yclients_id": 7, "datetime": "2026-12-01 10:00", "cost": "5.00"}  # fmt: skip
SYNCED = (
    "INSERT INTO botdata.synced_tables (table_name, source, began_at, ended_at) VALUES ('bookings', 's', %s, now())"
)


def ask_bookings(data: DataLayer) -> Awaitable[Any]:
    return data.get_client_appointments(7)


@pytest.mark.parametrize("stage", ["shadow", "live"])
async def test_a_table_that_is_brought_over_again_and_again_is_waited_for(
    pair: Pair, settings_of: MakeSettings, stage: str, looks: Rounds
) -> None:
    both(pair, "bookings", BOOKING)
    pair.ask("UPDATE bookings SET cost = 6", store="source")
    pair.ask(SYNCED, "2026-01-01")
    async with compared(settings_of(compare_deadline=60.0, close_timeout=60.0), stage) as data:
        await ask_bookings(data)
        await looks.go_by()
        assert data.metrics.total("comparisons") == 0
        pair.ask("UPDATE bookings SET cost = 6")
        await until_compared(data, pair, "UPDATE botdata.synced_tables SET began_at = clock_timestamp()")
    assert kept(pair, "get_client_appointments") == Kept(1, 1, 0, 0, 0)


async def test_a_table_that_nothing_brings_over_differs(pair: Pair, settings_of: MakeSettings) -> None:
    both(pair, "bookings", BOOKING)
    pair.ask("UPDATE bookings SET cost = 6", store="source")
    async with compared(settings_of()) as data:
        await ask_bookings(data)
    assert causes(pair) == [("get_client_appointments", "cost (Decimal)", 1)]


async def test_a_table_whose_writer_has_moved_is_not_expected_in_supabase(
    pair: Pair, settings_of: MakeSettings
) -> None:
    both(pair, "bookings", BOOKING)
    pair.ask("UPDATE bookings SET cost = 6")
    pair.ask("INSERT INTO botdata.table_authority VALUES ('bookings', 'postgres')")
    async with compared(settings_of(), "live") as data:
        await ask_bookings(data)
    assert data.metrics.total("comparisons", outcome="skipped", reason="own authority") == 1
