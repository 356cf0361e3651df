"""The calls of the writing methods, on the reserved company, and reads of what they wrote."""

from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from typing import Any

from app.parity.reads import Call
from app.parity.reserved_company import COMPANY_ID, TITLE, USER_ID

_PHONE = "+7 900 000-{:02}-{:02}"


def writing_calls() -> Iterator[Call]:
    """Calls of the six writing methods: new rows, changed ones, rows of different shape, and bad input."""
    yield from _company()
    yield from _clients()
    yield from _services()
    yield from _schedules()
    yield from _dialog()


def _company() -> Iterator[Call]:
    # First of all: its row marks the others as ours.
    company: dict[str, Any] = {"company_id": COMPANY_ID, "title": f"  {TITLE} "}
    yield Call("upsert_company", (company,))
    more = {"timezone": "Asia/Yekaterinburg", "coordinate_lat": Decimal("55.1234567"), "raw_data": {"n": [1, None]}}
    yield Call("upsert_company", ({**company, **more},))
    yield Call("upsert_company", ({"company_id": COMPANY_ID},))
    yield Call("get_company", (COMPANY_ID,))


def _client(number: int, **columns: object) -> dict[str, Any]:
    return {
        "yclients_id": number,
        "company_id": COMPANY_ID,
        "name": f" Клиент {number} ",
        "phone": _PHONE.format(number // 100, number % 100),
        **columns,
    }


def _clients() -> Iterator[Call]:
    yield Call("upsert_client", (_client(1, tags=["a b", None, '"{}'], total_spent=Decimal("21.80")),))
    yield Call("upsert_client", (_client(1, notes="100% _ \\ * 'ё'"),))
    yield Call("upsert_client", (_client(2, phone="нет"),))
    yield Call("upsert_clients", ([_client(number, visit_count=number) for number in range(2, 40)],))
    # Different shapes in one batch: what a row does not give stays as it is.
    yield Call("upsert_clients", ([_client(2, email="two@example.com"), _client(3), _client(50, discount=5)],))
    yield Call("upsert_clients", ([_client(4), _client(4)],))
    yield Call("upsert_clients", ([],))
    yield Call("upsert_clients", ([_client(5, nope=1)],))
    for number in (1, 2, 3, 50, 99):
        yield Call("get_client_by_id", (number, COMPANY_ID))
    yield Call("search_clients_by_name", (COMPANY_ID, "клиент 1"))


def _services() -> Iterator[Call]:
    service: dict[str, Any] = {"yclients_id": 1, "company_id": COMPANY_ID, "title": " Стрижка ", "category_id": 7}
    yield Call("upsert_services", ([{**service, "price_min": "1500.5", "declensions": {"род": "стрижки"}}],))
    yield Call("upsert_services", ([service, {**service, "yclients_id": 2, "weight": 9, "is_active": False}],))
    yield Call("upsert_services", ([{**service, "title": " "}],))
    yield Call("get_services", (COMPANY_ID,), {"include_inactive": True})
    yield Call("get_services_by_category", (COMPANY_ID, 7))


def _schedules() -> Iterator[Call]:
    schedule: dict[str, Any] = {"staff_id": COMPANY_ID, "date": date(2030, 1, 1), "staff_name": "Мастер"}
    yield Call("upsert_staff_schedules", ([{**schedule, "work_start": time(10), "work_end": "22:00"}],))
    yield Call("upsert_staff_schedules", ([{**schedule, "is_working": False}, {**schedule, "date": "2030-01-02"}],))
    yield Call("upsert_staff_schedules", ([{**schedule, "date": "2030-02-30"}],))
    yield Call("get_staff_schedule", (COMPANY_ID, "2030-01-01"))


def _dialog() -> Iterator[Call]:
    context: dict[str, Any] = {"user_id": USER_ID, "company_id": COMPANY_ID, "state": "new"}
    yield Call("upsert_dialog_context", ({**context, "data": {"step": 1}, "messages": [{"text": "привет"}]},))
    yield Call("upsert_dialog_context", ({"user_id": USER_ID, "state": "done", "data": None},))
    yield Call("upsert_dialog_context", ({"state": "done"},))
    yield Call("get_dialog_context", (USER_ID,))
