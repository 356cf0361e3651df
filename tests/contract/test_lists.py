"""Lists: whole above the row cap, filtered by company, and in an order that is the same everywhere."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from app.data_layer import DataLayer, Result
from tests.contract.stores import Stores

SALON, OTHER = 962302, 962303


def ids(answer: Result[Any]) -> list[int]:
    assert answer.success, answer
    return [row.id for row in answer.data]


def services(*rows: tuple[int, str, int | None], **columns: Any) -> list[dict[str, Any]]:
    """Rows of (id, title, weight)."""
    return [
        {"id": number, "yclients_id": number, "company_id": SALON, "title": title, "weight": weight, **columns}
        for number, title, weight in rows
    ]


@pytest.fixture
def catalogue(stores: Stores) -> None:
    stores.insert(
        "services",
        *services((1, "бритьё", 5), (2, "Воск", 5), (3, "Ёлка", 5), (4, "a", 5), (5, "B", 5), (6, "_", 5)),
        *services((7, "вес 9", 9), (8, "без веса", None), (9, "Без веса", None), (10, "меньше", -1)),
        *services((12, "то же", 0), (11, "то же", 0), category_id=3),
        *services((13, "спит", 100), category_id=3, is_active=False),
        *services((14, "неизвестно", 100), category_id=3, is_active=None),
        {"id": 15, "yclients_id": 15, "company_id": OTHER, "title": "чужая", "weight": 7, "category_id": 3},
    )


async def test_services_by_weight_then_title_by_code_point(data: DataLayer, catalogue: None) -> None:
    # Code points: "B" < "_" < "a" < "Ё" < "В" < "б"; no locale sorts like this.
    assert ids(await data.get_services(SALON)) == [7, 5, 6, 4, 3, 2, 1, 11, 12, 10, 9, 8]


async def test_inactive_services_only_when_asked(data: DataLayer, catalogue: None) -> None:
    everything = ids(await data.get_services(SALON, include_inactive=True))
    assert everything == [14, 13, 7, 5, 6, 4, 3, 2, 1, 11, 12, 10, 9, 8]


async def test_services_of_a_category_are_active_and_of_the_company(data: DataLayer, catalogue: None) -> None:
    assert ids(await data.get_services_by_category(SALON, 3)) == [11, 12]
    assert ids(await data.get_services_by_category(OTHER, "3")) == [15]
    assert ids(await data.get_services_by_category(SALON, 4)) == []


async def test_staff_by_name(data: DataLayer, stores: Stores) -> None:
    names = ["б", "Б", "А", "a", "Z", "ё", "Я", "А", "😀", "\uffff"]
    stores.insert(
        "staff",
        *[{"id": i, "yclients_id": i, "company_id": SALON, "name": name} for i, name in enumerate(names, 1)],
        {"id": 20, "yclients_id": 20, "company_id": SALON, "name": "ушёл", "is_active": False},
        {"id": 21, "yclients_id": 21, "company_id": OTHER, "name": "чужой"},
    )
    assert ids(await data.get_staff(SALON)) == [5, 4, 3, 8, 2, 7, 1, 6, 10, 9]
    assert ids(await data.get_staff(SALON, include_inactive=True)) == [5, 4, 3, 8, 2, 7, 1, 20, 6, 10, 9]


async def test_a_list_longer_than_the_row_cap_is_whole(data: DataLayer, stores: Stores) -> None:
    stores.execute(
        "INSERT INTO services (id, yclients_id, company_id, title, weight) "
        f"SELECT n, n, {SALON}, 'услуга', n % 3 FROM generate_series(1, 40) n"
    )
    found = ids(await data.get_services(SALON))
    assert found == sorted(range(1, 41), key=lambda n: (-(n % 3), n))


async def test_schedules_of_the_companys_staff_only(data: DataLayer, stores: Stores) -> None:
    stores.insert(
        "staff",
        {"yclients_id": 1, "company_id": SALON, "name": "Али"},
        {"yclients_id": 2, "company_id": SALON, "name": "Бари", "is_active": False},
        {"yclients_id": 3, "company_id": OTHER, "name": "Чужой"},
        {"yclients_id": 4, "company_id": SALON, "name": "Общий"},
        {"yclients_id": 4, "company_id": OTHER, "name": "Общий"},
    )
    day = {"date": "2026-11-01"}
    stores.insert(
        "staff_schedules",
        {"id": 1, "staff_id": 2, "staff_name": "б", **day},
        {"id": 2, "staff_id": 1, "staff_name": "а", **day},
        {"id": 3, "staff_id": 3, "staff_name": "а", **day},
        {"id": 4, "staff_id": 4, "staff_name": None, **day},
        {"id": 5, "staff_id": 9, "staff_name": "а", **day},
        {"id": 6, "staff_id": 1, "staff_name": "а", "date": "2026-10-31", "is_working": False},
        {"id": 7, "staff_id": 1, "staff_name": "а", "date": "2026-11-02", "is_working": None},
        {"id": 8, "staff_id": 2, "staff_name": "А", "date": "2026-11-02"},
    )
    assert ids(await data.get_staff_schedules(SALON)) == [6, 2, 1, 4, 8, 7]
    assert ids(await data.get_staff_schedules(OTHER)) == [3, 4]
    assert ids(await data.get_staff_schedules(1)) == []
    assert ids(await data.get_staff_schedules(SALON, staff_id=1)) == [6, 2, 7]
    assert ids(await data.get_staff_schedules(SALON, staff_id=3)) == []
    assert ids(await data.get_staff_schedules(SALON, staff_name="а")) == [6, 2, 7]
    assert ids(await data.get_staff_schedules(SALON, staff_name="%")) == []
    assert ids(await data.get_staff_schedules(SALON, date_from="2026-11-01", date_to=date(2026, 11, 1))) == [2, 1, 4]
    assert ids(await data.get_staff_schedules(SALON, date_from=date(2026, 11, 2))) == [8, 7]
    assert ids(await data.get_staff_schedules(SALON, is_working=True)) == [2, 1, 4, 8]
    assert ids(await data.get_staff_schedules(SALON, is_working=False)) == [6]
    assert ids(await data.get_staff_schedules(SALON, limit=2)) == [6, 2]


@pytest.mark.parametrize("limit", [1, 3, 7, 8, 9, 16, 20, 21, 23, 24, 25])
async def test_limited_schedules_inside_a_long_day(data: DataLayer, stores: Stores, limit: int) -> None:
    # Two days of twelve schedules; the names run against the ids, so that a cut by id would give others.
    stores.execute(
        f"INSERT INTO staff (yclients_id, company_id, name) SELECT n, {SALON}, n FROM generate_series(1, 12) n"
    )
    stores.execute(
        "INSERT INTO staff_schedules (id, staff_id, date, staff_name) "
        "SELECT 12 * d + n, n, DATE '2026-11-01' + d, chr(1110 - n / 2) FROM generate_series(0, 1) d, "
        "generate_series(1, 12) n"
    )
    whole = [12 * d + n for d in (0, 1) for n in sorted(range(1, 13), key=lambda n: (-(n // 2), n))]
    assert ids(await data.get_staff_schedules(SALON, limit=limit)) == whole[:limit]


async def test_schedules_of_more_staff_than_fit_into_one_request(data: DataLayer, stores: Stores) -> None:
    stores.execute(
        f"INSERT INTO staff (yclients_id, company_id, name) SELECT n, {SALON}, n FROM generate_series(1, 230) n"
    )
    stores.execute(
        "INSERT INTO staff_schedules (id, staff_id, date, staff_name) "
        "SELECT 1000 - n, n, DATE '2026-11-01' + n % 3, 'x' FROM generate_series(1, 230) n"
    )
    expected = sorted(range(1, 231), key=lambda n: (n % 3, 1000 - n))
    assert ids(await data.get_staff_schedules(SALON, limit=200)) == [1000 - n for n in expected][:200]


async def test_only_schedules_that_are_returned_must_be_readable(data: DataLayer, stores: Stores) -> None:
    stores.insert("staff", *[{"yclients_id": n, "company_id": SALON, "name": "x"} for n in range(1, 131)])
    schedules: list[dict[str, Any]] = [
        {"staff_id": 120, "date": "2026-11-01"},
        {"staff_id": 1, "date": "infinity"},
        {"staff_id": 1, "date": "10000-01-01"},
        {"staff_id": 1, "date": "2026-11-02", "staff_name": "б", "last_updated": "infinity"},
        {"staff_id": 120, "date": "2026-11-02", "staff_name": "а"},
        {"staff_id": 2, "date": "2026-11-03"},
    ]
    stores.insert("staff_schedules", *[{"id": n, "staff_name": "x", **row} for n, row in enumerate(schedules, 1)])
    assert ids(await data.get_staff_schedules(SALON, limit=1)) == [1]
    assert ids(await data.get_staff_schedules(SALON, limit=2)) == [1, 5]
    assert (await data.get_staff_schedules(SALON, limit=3)).error_code == "unrepresentable_value"
    stores.execute("UPDATE staff_schedules SET last_updated = NULL")
    assert ids(await data.get_staff_schedules(SALON, limit=4)) == [1, 5, 4, 6]
    assert (await data.get_staff_schedules(SALON, limit=5)).error_code == "unrepresentable_value"
    for unreadable in ("0044-03-15 BC", "-infinity"):  # before every other day
        stores.execute(f"UPDATE staff_schedules SET date = '{unreadable}' WHERE id = 6")
        refused = await data.get_staff_schedules(SALON, limit=1)
        assert refused.error == "staff_schedules row 6: column date holds a value that Python cannot represent"


BOOKINGS: list[dict[str, Any]] = [
    {"datetime": "2026-11-03 10:00", "created_at": "2026-01-01 00:00:00.5", "cost": "100"},
    {"datetime": "2026-11-01 10:00", "created_at": None, "cost": None},
    {"datetime": "2026-11-02 10:00", "created_at": "2026-01-01 00:00:00.4", "cost": "99.99"},
    {"datetime": "2026-11-02 10:00", "created_at": "2026-01-01 00:00:00.6", "cost": "NaN"},
    {"datetime": "2026-11-01 09:00", "created_at": None, "cost": None},
]


def insert_bookings(stores: Stores, rows: list[dict[str, Any]], **columns: Any) -> None:
    stores.insert(
        "bookings",
        *[
            {
                "id": f"00000000-0000-4000-8000-{number:012}",
                "yclients_record_id": number,
                "company_id": SALON,
                "client_yclients_id": 5,
                **columns,
                **row,
            }
            for number, row in enumerate(rows, 1)
        ],
    )


def records(answer: Result[Any]) -> list[int]:
    assert answer.success, answer
    return [row.yclients_record_id for row in answer.data]


@pytest.mark.parametrize(
    ("order_by", "descending", "expected"),
    [
        ("datetime", True, [1, 3, 4, 2, 5]),
        ("datetime", False, [5, 2, 3, 4, 1]),
        ("created_at", True, [4, 1, 3, 2, 5]),
        ("created_at", False, [3, 1, 4, 2, 5]),
        ("cost", True, [4, 1, 3, 2, 5]),
        ("cost", False, [3, 1, 4, 2, 5]),
    ],
)
async def test_appointments_in_every_order(
    data: DataLayer, stores: Stores, order_by: str, descending: bool, expected: list[int]
) -> None:
    insert_bookings(stores, BOOKINGS)
    answer = await data.get_client_appointments(5, order_by=order_by, descending=descending)
    assert records(answer) == expected
    first = await data.get_client_appointments(5, order_by=order_by, descending=descending, limit=3)
    assert records(first) == expected[:3]


async def test_appointments_of_one_client_and_company(data: DataLayer, stores: Stores) -> None:
    others = {"datetime": "2026-11-05 10:00"}
    insert_bookings(
        stores,
        [*BOOKINGS, {**others, "company_id": OTHER}, {**others, "client_yclients_id": 6, "client_phone": "7"}],
        client_phone="79000000001",
    )
    assert records(await data.get_client_appointments(5)) == [6, 1, 3, 4, 2, 5]
    assert records(await data.get_client_appointments(5, company_id=OTHER)) == [6]
    assert records(await data.get_client_appointments(5, company_id=1)) == []


async def test_appointments_are_cut_at_the_limit_and_not_at_the_row_cap(data: DataLayer, stores: Stores) -> None:
    stores.execute(
        "INSERT INTO bookings (yclients_record_id, company_id, client_yclients_id, datetime) "
        f"SELECT n, {SALON}, 5, TIMESTAMP '2026-01-01' + n * INTERVAL '1 hour' FROM generate_series(1, 130) n"
    )
    assert records(await data.get_client_appointments(5)) == list(range(130, 30, -1))
    assert records(await data.get_client_appointments(5, limit=15, descending=False)) == list(range(1, 16))
    assert records(await data.get_client_appointments(5, limit=10_000)) == list(range(130, 0, -1))
    assert records(await data.get_client_appointments(5, limit=0)) == [130]
    assert records(await data.get_client_appointments(5, limit=-5)) == [130]
