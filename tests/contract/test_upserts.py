"""Upserts: what is given is written, the rest stays, all rows or none, whole rows come back."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.cutover.stages import Store
from app.data_layer import DataLayer
from tests.contract.stores import Stores, rows_of

SALON, OTHER = 962302, 962303
STAMP = datetime(2026, 11, 21, 9, 30)


def client(number: int, **columns: Any) -> dict[str, Any]:
    return {"yclients_id": number, "company_id": SALON, "name": "Анна", "phone": "79684484488", **columns}


def service(number: int, **columns: Any) -> dict[str, Any]:
    return {"yclients_id": number, "company_id": SALON, "title": "Стрижка", **columns}


def schedule(staff_id: int, day: str | date, **columns: Any) -> dict[str, Any]:
    return {"staff_id": staff_id, "date": day, "staff_name": "Али", **columns}


async def test_a_new_client(data: DataLayer, stores: Stores) -> None:
    answer = await data.upsert_client(
        client(
            1,
            name="  Анна \n",
            phone="8 (968) 448-44-88",
            total_spent="12.345",
            discount=Decimal("-0.005"),
            tags=["a b", None, '"q"', "{}", "\\", "", "NULL", "новый\nстрока"],
            branch_ids=[[1, 2], [3, None]],
            preferred_time_slots=[],
            visit_history=[{"n": 1.5, "t": None, "s": 'й\t"\\', "nested": [[], {}]}],
            preferences={"a": {"b": [True, False]}},
            first_visit_date="2024-02-29",
            last_sync_at="2026-01-01T03:00:00.123456+03:00",
            blacklisted=True,
        )
    )
    assert answer.success, answer
    row = answer.data
    assert row is not None
    assert (row.name, row.phone, row.company_id) == ("Анна", "79684484488", SALON)
    assert (str(row.total_spent), str(row.discount)) == ("12.35", "-0.01")
    assert row.tags == ["a b", None, '"q"', "{}", "\\", "", "NULL", "новый\nстрока"]
    assert (row.branch_ids, row.preferred_time_slots) == ([[1, 2], [3, None]], [])
    assert row.visit_history == [{"n": 1.5, "t": None, "s": 'й\t"\\', "nested": [[], {}]}]
    assert row.preferences == {"a": {"b": [True, False]}}
    assert (row.first_visit_date, row.last_sync_at) == (date(2024, 2, 29), datetime(2026, 1, 1, 0, 0, 0, 123456))
    assert row.blacklisted is True
    assert (row.visit_count, row.created_by_ai, row.email, row.ai_context) == (0, False, None, None)
    assert row.updated_at == STAMP
    assert isinstance(row.created_at, datetime)
    assert (await data.get_client_by_id(1, SALON)).data == row


async def test_columns_that_are_not_given_stay(data: DataLayer, stores: Stores) -> None:
    stores.insert(
        "clients",
        {**client(1), "id": 7, "email": "a@example.com", "visit_count": 5, "preferences": '{"a": 1.10}', "tags": ["x"]},
    )
    row = (await data.upsert_client(client(1, name="Вера", visit_count=None))).data
    assert row is not None
    assert (row.id, row.name, row.email, row.visit_count, row.tags) == (7, "Вера", "a@example.com", None, ["x"])
    assert row.preferences == {"a": 1.1}
    kept = rows_of(stores.url_of(data), "SELECT preferences::text AS kept FROM clients")
    assert kept == [{"kept": '{"a": 1.10}'}]


async def test_the_other_companys_client_is_another_row(data: DataLayer, stores: Stores) -> None:
    await data.upsert_client(client(1))
    await data.upsert_client(client(1, company_id=OTHER, name="Вера"))
    assert [
        row.name if (row := (await data.get_client_by_id(1, company)).data) else None for company in (SALON, OTHER)
    ] == ["Анна", "Вера"]


async def test_a_bulk_of_one_shape_comes_back_in_the_order_given(data: DataLayer, stores: Stores) -> None:
    order = [5, 3, 9, 1, 8, 2, 12, 11, 7, 10]
    await data.upsert_clients([client(3, email="old"), client(9, email="old")])
    answer = await data.upsert_clients([client(number, visit_count=number) for number in order])
    assert answer.metadata == {"input_count": 10, "processed_count": 10}
    assert answer.data is not None
    assert [(row.yclients_id, row.visit_count) for row in answer.data] == [(number, number) for number in order]
    assert {row.email for row in answer.data if row.yclients_id in {3, 9}} == {"old"}


async def test_rows_of_different_shape_erase_nothing(data: DataLayer, stores: Stores) -> None:
    stores.insert(
        "clients",
        {
            **client(1),
            "email": "one@example.com",
            "visit_count": 5,
            "total_spent": "10.50",
            "preferences": '{"n": [1, "x", null]}',
            "tags": ["a", None, '"', "NULL"],
            "branch_ids": [[1, 2], [3, 4]],
            "last_visit_date": "2026-01-02",
            "created_at": "2020-01-01 00:00:00.000001",
            "blacklisted": True,
            "notes": 'tab\t"quotes" \\ back\nline й',
        },
        {**client(2), "email": "two@example.com", "visit_count": 6},
    )
    answer = await data.upsert_clients(
        [
            client(1, loyalty_level="gold"),
            client(2, email=None, total_spent=3, preferences={"a": 1}, tags=["t"], branch_ids=[], notes="n"),
            client(3, visit_count=9, blacklisted=True, last_visit_date="2026-02-02"),
            client(4, created_at=datetime(2021, 1, 1)),
        ]
    )
    assert answer.data is not None
    one, two, three, four = answer.data
    assert (one.email, one.visit_count, str(one.total_spent)) == ("one@example.com", 5, "10.50")
    assert (one.preferences, one.tags) == ({"n": [1, "x", None]}, ["a", None, '"', "NULL"])
    assert (one.branch_ids, one.last_visit_date) == ([[1, 2], [3, 4]], date(2026, 1, 2))
    assert (one.created_at, one.blacklisted) == (datetime(2020, 1, 1, 0, 0, 0, 1), True)
    assert (one.notes, one.loyalty_level) == ('tab\t"quotes" \\ back\nline й', "gold")
    assert (two.email, two.visit_count, two.total_spent) == (None, 6, Decimal("3.00"))
    assert (two.preferences, two.tags, two.branch_ids, two.notes) == ({"a": 1}, ["t"], [], "n")
    # New rows have their columns' defaults, not NULL.
    assert (three.visit_count, three.blacklisted, three.email, three.goods_count) == (9, True, None, 0)
    assert (four.visit_count, four.blacklisted, four.created_at) == (0, False, datetime(2021, 1, 1))
    assert all(isinstance(row.created_at, datetime) for row in answer.data)
    assert {row.updated_at for row in answer.data} == {STAMP}


async def test_json_null_that_a_row_of_a_mixed_batch_lacks(data: DataLayer, stores: Stores) -> None:
    stores.insert("clients", {**client(1), "preferences": "null", "ai_context": "null"})
    answer = await data.upsert_clients([client(1, notes="n"), client(2, preferences={"a": 1})])
    assert answer.data is not None
    assert [row.preferences for row in answer.data] == [None, {"a": 1}]
    stored = rows_of(
        stores.url_of(data), "SELECT preferences::text, ai_context::text FROM clients WHERE yclients_id = 1"
    )
    # PostgREST cannot be sent JSON null; a column that no row gives stays as it is.
    written = None if stores.authority_of(data) is Store.SUPABASE else "null"
    assert stored == [{"preferences": written, "ai_context": "null"}]


async def test_one_bad_row_writes_nothing(data: DataLayer, stores: Stores) -> None:
    answer = await data.upsert_clients([client(1), client(2, total_spent="99999999999.00"), client(3)])
    assert (answer.error_code, answer.metadata["index"], answer.metadata["field"]) == (
        "invalid_argument",
        1,
        "total_spent",
    )
    assert (await data.get_client_by_id(1)).data is None


async def test_a_row_that_the_store_refuses_takes_the_whole_batch_with_it(data: DataLayer, stores: Stores) -> None:
    stores.insert("clients", {**client(9), "notes": "taken"})
    stores.execute("CREATE UNIQUE INDEX only_one ON clients (notes)")
    try:
        one_shape = await data.upsert_clients([client(1, notes="free"), client(2, notes="taken")])
        mixed = await data.upsert_clients([client(3), client(4, notes="taken"), client(5, email="e")])
    finally:
        stores.execute("DROP INDEX only_one")
    assert (one_shape.error_code, mixed.error_code) == ("conflict", "conflict")
    assert [(await data.get_client_by_id(number)).data for number in (1, 2, 3, 4, 5)] == [None] * 5


async def test_the_largest_batch(data: DataLayer, stores: Stores) -> None:
    answer = await data.upsert_clients([client(number, visit_count=number) for number in range(1, 501)])
    assert answer.metadata == {"input_count": 500, "processed_count": 500}
    too_many = await data.upsert_clients([client(number) for number in range(1, 502)])
    assert (too_many.error_code, too_many.data) == ("invalid_argument", None)


async def test_a_mixed_batch_of_more_keys_than_fit_into_one_request(data: DataLayer, stores: Stores) -> None:
    await data.upsert_clients([client(number, email=f"{number}@example.com") for number in range(1, 251)])
    answer = await data.upsert_clients(
        [client(number, **({"visit_count": 7} if number % 2 else {"notes": "even"})) for number in range(1, 251)]
    )
    assert answer.data is not None
    assert [(row.email, row.visit_count, row.notes) for row in answer.data] == [
        (f"{number}@example.com", 7 if number % 2 else 0, None if number % 2 else "even") for number in range(1, 251)
    ]


async def test_services(data: DataLayer, stores: Stores) -> None:
    answer = await data.upsert_services(
        [
            service(1, title=" Стрижка ", price_min=1500, declensions={"род": "стрижки"}),
            service(2, price_min=0.1, weight=3, is_active=False),
        ]
    )
    assert answer.data is not None
    first, second = answer.data
    assert (first.title, str(first.price_min), first.weight, first.is_active) == ("Стрижка", "1500.00", 0, True)
    assert (first.declensions, first.updated_at, first.last_sync_at) == ({"род": "стрижки"}, STAMP, STAMP)
    assert (str(second.price_min), second.weight, second.is_active) == ("0.10", 3, False)
    assert (await data.get_service_by_id(2, SALON)).data == second


async def test_staff_schedules(data: DataLayer, stores: Stores) -> None:
    answer = await data.upsert_staff_schedules(
        [
            schedule(2, "2026-11-02", work_start="10:00", work_end="24:00:00"),
            schedule(1, date(2026, 11, 1), work_start=time(9, 30), work_end=time.max, is_working=False),
            schedule(1, "2026-11-02", staff_name=" Али "),
        ]
    )
    assert answer.data is not None
    assert [(row.staff_id, row.date, row.work_start, row.work_end, row.is_working) for row in answer.data] == [
        (2, date(2026, 11, 2), time(10), time.max, True),
        (1, date(2026, 11, 1), time(9, 30), time.max, False),
        (1, date(2026, 11, 2), None, None, True),
    ]
    assert {row.last_updated for row in answer.data} == {STAMP}
    # time.max stands for 24:00:00, and is written as that.
    kept = "SELECT work_end::text FROM staff_schedules WHERE work_end IS NOT NULL"
    assert rows_of(stores.url_of(data), kept) == [{"work_end": "24:00:00"}] * 2
    again = await data.upsert_staff_schedules([schedule(2, "2026-11-02", has_booking_slots=False)])
    assert again.data is not None
    assert (again.data[0].work_start, again.data[0].has_booking_slots) == (time(10), False)


async def test_company(data: DataLayer, stores: Stores) -> None:
    stores.insert("companies", {"id": 4, "company_id": SALON, "api_key": "kept", "yclients_id": 5})
    row = (
        await data.upsert_company(
            {
                "company_id": str(SALON),
                "title": " Салон ",
                "coordinate_lat": "55.12345678",
                "raw_data": [1, {"a": None}],
            }
        )
    ).data
    assert row is not None
    assert (row.id, row.title, row.api_key, row.yclients_id) == (4, "Салон", "kept", 5)
    assert (str(row.coordinate_lat), row.raw_data, row.updated_at) == ("55.1234568", [1, {"a": None}], STAMP)
    new = (await data.upsert_company({"company_id": 5, "title": "Другой"})).data
    assert new is not None
    assert (new.company_id, new.sync_enabled, new.ai_enabled) == (5, True, False)


async def test_dialog_context(data: DataLayer, stores: Stores) -> None:
    first = (
        await data.upsert_dialog_context(
            {
                "user_id": "+7 968",
                "state": "booking",
                "messages": [{"role": "user", "text": "привет 😀"}],
                "last_booking_id": "00000000-0000-4000-8000-000000000009",
                "client_id": 3,
            }
        )
    ).data
    assert first is not None
    assert (first.user_id, first.state, first.message_count) == ("+7 968", "booking", 0)
    assert (first.last_activity, first.updated_at) == (STAMP, STAMP)
    assert first.last_booking_id == UUID("00000000-0000-4000-8000-000000000009")
    later = datetime(2026, 11, 21, 10, 0)
    stores.clock.now = later.replace(tzinfo=UTC)
    second = (await data.upsert_dialog_context({"user_id": "+7 968", "last_activity": "2001-01-01", "data": {}})).data
    assert second is not None
    assert (second.id, second.state, second.data) == (first.id, "booking", {})
    assert (second.last_activity, second.updated_at) == (later, later)
    assert second.messages == [{"role": "user", "text": "привет 😀"}]


async def test_the_stamps_are_the_layers_own(data: DataLayer) -> None:
    row = (await data.upsert_client(client(1, updated_at="1999-01-01", last_sync_at="1999-01-01"))).data
    assert row is not None
    assert (row.updated_at, row.last_sync_at) == (STAMP, datetime(1999, 1, 1))
