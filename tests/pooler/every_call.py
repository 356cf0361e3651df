"""Each of the 21 methods once, on rows that fill every column of the tables that they read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from app import models
from app.data_layer import DataLayer, Result
from app.stores.reads import TABLES_READ
from tests.contract.stores import insert

SALON = 7
PHONE = "79684484488"
DAY = "2031-02-03"
_BY_TYPE = {
    "bool": "true",
    "date": DAY,
    "datetime": f"{DAY} 04:05:06.789",
    "Decimal": "1.25",
    "object": '{"при": [1.10, 0.1, 1e2, null], "\\\\": "ё"}',
    "int": "7",
    "list": "{7}",
    "str": "7",
    "time": "24:00",
    "UUID": "00000000-0000-4000-8000-000000000007",
}
_GIVEN = {
    "name": r"Анна \' E",
    "phone": PHONE,
    "user_id": PHONE,
    "timezone": "Asia/Vladivostok",
    "tags": r'{NULL,"\\","a \"b\""}',
}
TABLES = sorted({name for names in TABLES_READ.values() for name in names})
Call = Callable[[DataLayer], Awaitable[Result[Any]]]

READS: dict[str, Call] = {
    "get_dialog_context": lambda data: data.get_dialog_context(PHONE),
    "get_client_by_phone": lambda data: data.get_client_by_phone(PHONE, SALON),
    "get_client_by_id": lambda data: data.get_client_by_id(7),
    "get_client_appointments": lambda data: data.get_client_appointments(7, company_id=SALON),
    "get_upcoming_appointments": lambda data: data.get_upcoming_appointments(7, SALON),
    "search_clients_by_name": lambda data: data.search_clients_by_name(SALON, "анна"),
    "get_staff_by_id": lambda data: data.get_staff_by_id(7, SALON),
    "get_staff_schedules": lambda data: data.get_staff_schedules(SALON, date_from=DAY, date_to=DAY),
    "get_staff_schedule": lambda data: data.get_staff_schedule(7, DAY, SALON),
    "get_services": lambda data: data.get_services(SALON),
    "get_staff": lambda data: data.get_staff(SALON),
    "get_service_by_id": lambda data: data.get_service_by_id(7, SALON),
    "get_services_by_category": lambda data: data.get_services_by_category(SALON, 7),
    "get_company": lambda data: data.get_company(SALON),
    "health_check": lambda data: data.health_check(),
}
_KEY = {"yclients_id": 8, "company_id": SALON, "name": "Анна"}
WRITES: dict[str, Call] = {
    "upsert_dialog_context": lambda data: data.upsert_dialog_context(
        {"user_id": PHONE, "company_id": SALON, "data": {"half": 0.1, "when": DAY}}
    ),
    "upsert_client": lambda data: data.upsert_client({**_KEY, "phone": PHONE, "first_visit_date": DAY, "tags": ["\\"]}),
    "upsert_clients": lambda data: data.upsert_clients(
        [{**_KEY, "phone": PHONE}, {**_KEY, "phone": "79000000009", "yclients_id": 9}]
    ),
    "upsert_services": lambda data: data.upsert_services(
        [{"yclients_id": 8, "company_id": SALON, "title": "Стрижка", "price_min": "1.10"}]
    ),
    "upsert_staff_schedules": lambda data: data.upsert_staff_schedules(
        [
            {
                "staff_id": 7,
                "date": "2031-02-04",
                "staff_name": "Анна",
                "work_start": "10:00",
                "last_updated": f"{DAY} 01:02:03",
            }
        ]
    ),
    "upsert_company": lambda data: data.upsert_company({"company_id": 8, "title": "Салон", "coordinate_lat": "55.7"}),
}


def fill(url: str) -> None:
    """A row in each table, none of whose values is NULL."""
    for name in TABLES:
        table = models.Base.metadata.tables[name]
        insert(url, name, {c.name: _GIVEN.get(c.name, _BY_TYPE[c.type.python_type.__name__]) for c in table.columns})


async def answers(data: DataLayer, calls: dict[str, Call]) -> dict[str, str]:
    """What each call answers, every field of it."""
    return {name: shown(await call(data)) for name, call in calls.items()}


def shown(answer: Result[Any]) -> str:
    """An answer with every field of its rows, which rows do not show themselves."""
    assert answer.success or answer.error_code == "unrepresentable_value", answer
    rows = answer.data if isinstance(answer.data, list) else [answer.data]
    return repr([[tuple(row) if isinstance(row, tuple) else row for row in rows], answer.error])
