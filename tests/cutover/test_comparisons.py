"""Answers compared beside the call: every planted difference is found, and reported by field."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.data_layer import DataLayer
from app.stores.backend import StoreBackend
from app.stores.reads import TABLES_READ
from tests.cutover.comparing import Kept, both, causes, compared, kept
from tests.fixtures.cutover import MakeSettings, Pair

PHONE = "79684484488"
SALON = 962302
Call = Callable[[DataLayer], Awaitable[Any]]

CALLS: dict[str, Call] = {
    "get_dialog_context": lambda data: data.get_dialog_context(f"{PHONE}@c.us"),
    "get_client_by_phone": lambda data: data.get_client_by_phone(PHONE),
    "get_client_by_id": lambda data: data.get_client_by_id(7, SALON),
    "get_client_appointments": lambda data: data.get_client_appointments(7, limit=3),
    "get_upcoming_appointments": lambda data: data.get_upcoming_appointments(7, SALON),
    "search_clients_by_name": lambda data: data.search_clients_by_name(SALON, "Planted", 4),
    "get_staff_by_id": lambda data: data.get_staff_by_id(5, SALON),
    "get_staff": lambda data: data.get_staff(SALON),
    "get_staff_schedules": lambda data: data.get_staff_schedules(SALON),
    "get_staff_schedule": lambda data: data.get_staff_schedule(5, "2026-12-02", SALON),
    "get_services": lambda data: data.get_services(SALON),
    "get_service_by_id": lambda data: data.get_service_by_id(2, SALON),
    "get_services_by_category": lambda data: data.get_services_by_category(SALON, 3),
    "get_company": lambda data: data.get_company(SALON),
}
DIGIT = "cost = 5.01 WHERE yclients_record_id = 28"
# A method, what is changed behind its back in PostgreSQL, and the cause that is reported.
PLANTED = [
    ("get_dialog_context", """dialog_contexts SET data = '{"step": 2}'""", "data (dict)"),
    ("get_client_by_phone", "clients SET total_spent = 10.11 WHERE id = 7", "total_spent (Decimal)"),
    ("get_client_by_phone", "clients SET phone = '79684484487' WHERE id = 7", "phone (str)"),
    ("get_client_by_phone", f"clients SET phone = '{PHONE}' WHERE id = 6", "(answer) (ambiguous or answered)"),
    ("get_client_by_id", "clients SET total_spent = NULL WHERE id = 7", "total_spent (Decimal or NoneType)"),
    ("get_client_by_id", "clients SET yclients_id = 70 WHERE id = 7", "(row) (ClientRow or missing)"),
    ("get_client_appointments", f"bookings SET {DIGIT}", "cost (Decimal)"),
    ("get_upcoming_appointments", f"bookings SET {DIGIT}", "cost (Decimal)"),
    ("get_upcoming_appointments", "companies SET timezone = 'Nowhere'", "unknown_timezone (bool)"),
    ("get_upcoming_appointments", "bookings SET status = 'deleted' WHERE yclients_record_id = 28",
     "(row) (BookingRow or missing)"),
    ("search_clients_by_name", "clients SET visit_count = 1 WHERE id = 2", "visit_count (int)"),
    ("search_clients_by_name", "clients SET visit_count = 4 WHERE id = 1", "visit_count (int)"),
    ("search_clients_by_name", "clients SET visit_count = 9 WHERE id = 8", "visit_count (int)"),
    ("get_staff_by_id", "staff SET rating = 4.01", "rating (Decimal)"),
    ("get_staff", "staff SET rating = 4.01", "rating (Decimal)"),
    ("get_staff_schedules", "staff_schedules SET work_start = '09:01' WHERE id = 2", "work_start (time)"),
    ("get_staff_schedule", "staff_schedules SET work_start = '09:01' WHERE id = 2", "work_start (time)"),
    ("get_services", "services SET weight = 1 WHERE id = 2", "weight (int)"),
    ("get_services_by_category", "services SET price_min = 100.5 WHERE id = 5", "price_min (Decimal)"),
    ("get_service_by_id", "services SET duration = 61 WHERE id = 2", "duration (int)"),
    ("get_company", "companies SET title = 'Salom'", "title (str)"),
]  # fmt: skip


@pytest.fixture
def full(pair: Pair) -> Pair:
    """Both stores, with the same rows in them."""
    salon = {"company_id": SALON}
    both(pair, "companies", {"id": 1, **salon, "title": "Salon", "timezone": "Asia/Omsk"})
    for n in range(1, 9):
        phone = PHONE if n == 7 else f"7900000000{n}"
        person = {"id": n, "yclients_id": n, **salon, "name": f"Planted {n}", "phone": phone}
        both(pair, "clients", {**person, "total_spent": "10.10", "visit_count": "3"})
        visit = {"id": f"00000000-0000-0000-0000-00000000000{n}", "yclients_record_id": 20 + n, **salon}
        both(pair, "bookings", {**visit, "client_yclients_id": 7, "datetime": f"2026-12-0{n} 10:00", "cost": "5.00"})
        both(pair, "services", {"id": n, "yclients_id": n, **salon, "title": f"Cut {n}", "category_id": 3,
                                "duration": 60, "price_min": "100.4"})  # fmt: skip
        both(pair, "staff_schedules", {"id": n, "staff_id": 5, "staff_name": "Ali", "date": f"2026-12-0{n}",
                                       "work_start": "09:00"})  # fmt: skip
    both(pair, "staff", {"id": 5, "yclients_id": 5, **salon, "name": "Ali", "rating": "4.00"})
    context = {"id": f"00000000-0000-0000-0000-{1:012}", "user_id": f"{PHONE}@c.us", "data": '{"step": 1}'}
    both(pair, "dialog_contexts", context)
    return pair


@pytest.mark.parametrize("stage", ["shadow", "live"])
async def test_equal_answers_are_counted_so(full: Pair, settings_of: MakeSettings, stage: str) -> None:
    async with compared(settings_of(compare_at_once=20, mirror_connections=40), stage) as data:
        for call in CALLS.values():
            assert (await call(data)).success
    for method in CALLS:
        assert kept(full, method) == Kept(1, 1, 0, 0, 0), method
    assert causes(full) == []
    latencies = full.ask("SELECT authority_latency, other_latency, stage FROM botdata.comparisons")
    assert {(sum(authority), sum(other), at) for authority, other, at in latencies} == {(1, 1, stage)}


@pytest.mark.parametrize("stage", ["shadow", "live"])
async def test_a_planted_difference_is_reported_by_field(full: Pair, settings_of: MakeSettings, stage: str) -> None:
    for method, change, cause in PLANTED:
        table = change.split()[0]
        ((rows,),) = full.ask(f"SELECT json_agg(t)::text FROM {table} t")
        full.ask(f"UPDATE {change}")
        async with compared(settings_of(), stage) as data:
            await CALLS[method](data)
        assert (change, *kept(full, method)) == (change, 1, 0, 1, 0, 0)
        assert causes(full) == [(method, cause, 1)]
        full.ask(f"TRUNCATE botdata.comparisons, botdata.differences, {table}")
        full.ask(f"INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, %s)", rows)


def test_every_reading_method_of_a_store_is_described() -> None:
    methods = {name for name in vars(StoreBackend) if name.startswith(("get_", "search_"))}
    assert methods == TABLES_READ.keys()
    assert len(methods) == 14
