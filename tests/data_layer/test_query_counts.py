"""How many statements and requests a call costs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import psycopg
import pytest

from app.data_layer import DataLayer
from app.repositories.backend import RepositoryBackend
from app.schema import revisions
from app.stores.postgres.database import Database
from app.stores.supabase.backend import SupabaseBackend
from app.stores.supabase.client import SupabaseRest
from app.stores.supabase.grammar import LONGEST_ADDRESS
from tests.contract.stores import insert
from tests.contract.test_upserts import SALON, client, schedule, service
from tests.fixtures.data_layer import MakeSettings

READS: list[tuple[str, tuple[Any, ...], int]] = [
    # method, arguments, requests to Supabase (statements on PostgreSQL: always one)
    ("get_dialog_context", ("7",), 1),
    ("get_client_by_phone", ("79684484488",), 1),
    ("get_client_by_id", (1, SALON), 1),
    ("get_client_appointments", (1,), 1),
    ("get_upcoming_appointments", (1, SALON), 2),
    ("search_clients_by_name", (SALON, "а"), 1),
    ("get_staff_by_id", (1, SALON), 1),
    ("get_staff_schedules", (SALON,), 2),
    ("get_staff_schedule", (1, "2026-01-01", SALON), 2),
    ("get_services", (SALON,), 1),
    ("get_staff", (SALON,), 1),
    ("get_service_by_id", (1,), 1),
    ("get_services_by_category", (SALON, 1), 1),
    ("get_company", (SALON,), 1),
    ("health_check", (), 1),
]
WRITES: list[tuple[str, Any, int, int]] = [
    # method, argument, statements, requests
    ("upsert_dialog_context", {"user_id": "7"}, 1, 1),
    ("upsert_client", client(1), 1, 1),
    ("upsert_clients", [client(number) for number in range(1, 101)], 1, 1),
    ("upsert_clients", [client(1), client(2, email="e"), client(3, email=None)], 2, 2),
    (
        "upsert_clients",
        [client(10**9 + number, **({"email": "e"} if number % 2 else {})) for number in range(200)],
        2,
        3,
    ),
    ("upsert_staff_schedules", [schedule(1, f"2026-01-{day:02}") for day in range(1, 31)], 1, 1),
    ("upsert_services", [service(1), service(2)], 1, 1),
    ("upsert_company", {"company_id": 1, "title": "x"}, 1, 1),
]


class Counted:
    """A data layer and what it has sent."""

    def __init__(self, layer: DataLayer, sent: list[str]) -> None:
        self.layer = layer
        self.sent = sent

    async def count(self, method: str, *arguments: Any) -> int:
        await getattr(self.layer, method)(*arguments)  # the first use of a connection prepares it
        self.sent.clear()
        answer = await getattr(self.layer, method)(*arguments)
        assert answer.success, answer
        return len(self.sent)


@pytest.fixture
async def postgresql(settings_with: MakeSettings, database_url: str) -> AsyncIterator[Counted]:
    insert(database_url, "clients", client(1))
    insert(database_url, "staff", {"yclients_id": 1, "company_id": SALON, "name": "Али"})
    database = Database(database_url, pool_size=1)
    sent: list[str] = []

    # The driver's own statements, whoever has it carry them out.
    class Recorded(psycopg.AsyncCursor[Any]):
        async def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
            sent.append(str(query))
            return await super().execute(query, *arguments, **options)

    async with database.driver() as driver:  # the pool's one connection
        driver.cursor_factory = Recorded
    layer = DataLayer(RepositoryBackend(database, default_timezone="Europe/Moscow"), settings_with())
    yield Counted(layer, sent)
    await layer.close()


@pytest.fixture(scope="module")
async def supabase_for_counts(supabase_server_factory: Any) -> Any:
    server = supabase_server_factory(revisions.upgrade)
    insert(server.database_url, "clients", client(1))
    insert(server.database_url, "staff", {"yclients_id": 1, "company_id": SALON, "name": "Али"})
    insert(server.database_url, "staff_schedules", schedule(1, "2026-01-01"))
    booking = {"yclients_record_id": 1, "company_id": SALON, "client_yclients_id": 1, "datetime": "2999-01-01"}
    insert(server.database_url, "bookings", booking)
    return server


@pytest.fixture
async def supabase(settings_with: MakeSettings, supabase_for_counts: Any) -> AsyncIterator[Counted]:
    with psycopg.connect(supabase_for_counts.database_url) as connection:
        connection.execute("DELETE FROM clients WHERE yclients_id <> 1")  # what another test wrote
    rest = await SupabaseRest.open(supabase_for_counts.url, supabase_for_counts.service_key)
    sent: list[str] = []

    async def record(request: httpx.Request) -> None:
        sent.append(f"{request.method} {request.url}")

    rest._session.event_hooks["request"].append(record)
    layer = DataLayer(SupabaseBackend(rest, default_timezone="Europe/Moscow"), settings_with())
    yield Counted(layer, sent)
    await layer.close()


@pytest.mark.parametrize(("method", "arguments"), [read[:2] for read in READS])
async def test_a_read_is_one_statement(postgresql: Counted, method: str, arguments: tuple[Any, ...]) -> None:
    assert await postgresql.count(method, *arguments) == 1


@pytest.mark.parametrize(("method", "rows", "statements"), [write[:3] for write in WRITES])
@pytest.mark.first_command
async def test_a_write_is_one_statement_a_shape(postgresql: Counted, method: str, rows: Any, statements: int) -> None:
    assert await postgresql.count(method, rows) == statements


@pytest.mark.parametrize(("method", "arguments", "requests"), READS)
async def test_requests_of_a_read(supabase: Counted, method: str, arguments: tuple[Any, ...], requests: int) -> None:
    assert await supabase.count(method, *arguments) == requests, supabase.sent


@pytest.mark.parametrize(("method", "rows", "requests"), [(method, rows, count) for method, rows, _, count in WRITES])
async def test_requests_of_a_write(supabase: Counted, method: str, rows: Any, requests: int) -> None:
    assert await supabase.count(method, rows) == requests, supabase.sent
    assert max(map(len, supabase.sent)) < len("POST http://127.0.0.1:65535") + LONGEST_ADDRESS
