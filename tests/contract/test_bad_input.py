"""Bad input of every method: an answer with a code and the field, never an exception, and nothing written."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any

import pytest

from app.data_layer import DataLayer
from tests.contract.stores import Stores
from tests.contract.test_upserts import SALON, client, schedule, service

DEEP: list[Any] = []
for _ in range(2000):
    DEEP = [DEEP]

BAD_IDS: list[Any] = [0, -1, None, True, 1.0, "x", "", "1.5", 2**31, "1 or 1=1", [1], b"1", float("nan")]
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], str, str | None]] = [
    *[
        ("get_dialog_context", (v,), {}, "invalid_argument", "user_id")
        for v in ["", "  ", None, 7, "a\0b", "\ud800", "x" * 256]
    ],
    *[
        ("get_client_by_phone", (v,), {}, "invalid_phone", "phone")
        for v in ["", "abc", "123", None, True, "+", 7.9, "1" * 40]
    ],
    ("get_client_by_phone", ("79684484488", 0), {}, "invalid_argument", "company_id"),
    *[("get_client_by_id", (v,), {}, "invalid_argument", "yclients_id") for v in BAD_IDS],
    ("get_client_by_id", (1, "x"), {}, "invalid_argument", "company_id"),
    *[("get_client_appointments", (v,), {}, "invalid_argument", "client_id") for v in BAD_IDS],
    *[
        ("get_client_appointments", (1,), {"order_by": v}, "invalid_argument", "order_by")
        for v in ["id", "", None, ["cost"], "cost desc"]
    ],
    *[("get_client_appointments", (1,), {"limit": v}, "invalid_argument", "limit") for v in ["x", 1.5, True, [1]]],
    ("get_client_appointments", (1,), {"descending": "yes"}, "invalid_argument", "descending"),
    ("get_client_appointments", (1,), {"company_id": -1}, "invalid_argument", "company_id"),
    ("get_upcoming_appointments", (0, 1), {}, "invalid_argument", "client_id"),
    ("get_upcoming_appointments", (1, None), {}, "invalid_argument", "company_id"),
    *[
        ("search_clients_by_name", (1, v), {}, "invalid_argument", "name")
        for v in ["", " \t", None, 5, "\0", "\udfff", "x" * 256]
    ],
    ("search_clients_by_name", (0, "x"), {}, "invalid_argument", "company_id"),
    ("search_clients_by_name", (1, "x", "y"), {}, "invalid_argument", "limit"),
    ("get_staff_by_id", (0, 1), {}, "invalid_argument", "staff_id"),
    ("get_staff_by_id", (1, None), {}, "invalid_argument", "company_id"),
    ("get_staff_schedules", (None,), {}, "invalid_argument", "company_id"),
    ("get_staff_schedules", (1,), {"staff_id": "a"}, "invalid_argument", "staff_id"),
    ("get_staff_schedules", (1,), {"staff_name": ""}, "invalid_argument", "staff_name"),
    *[
        ("get_staff_schedules", (1,), {"date_from": v}, "invalid_argument", "date_from")
        for v in ["1.2.2026", "20260101", "2026-02-30", 5, datetime.now(UTC)]
    ],
    ("get_staff_schedules", (1,), {"date_to": "infinity"}, "invalid_argument", "date_to"),
    ("get_staff_schedules", (1,), {"is_working": 1}, "invalid_argument", "is_working"),
    ("get_staff_schedules", (1,), {"limit": "all"}, "invalid_argument", "limit"),
    *[
        ("get_staff_schedule", (1, v), {}, "invalid_argument", "date")
        for v in ["", None, "2026-13-01", "01.01.2026", "2026-1-1"]
    ],
    ("get_staff_schedule", (0, "2026-01-01"), {}, "invalid_argument", "staff_id"),
    ("get_staff_schedule", (1, "2026-01-01", 0), {}, "invalid_argument", "company_id"),
    ("get_services", ("",), {}, "invalid_argument", "company_id"),
    ("get_services", (1, "no"), {}, "invalid_argument", "include_inactive"),
    ("get_staff", (0,), {}, "invalid_argument", "company_id"),
    ("get_staff", (1, None), {}, "invalid_argument", "include_inactive"),
    ("get_service_by_id", (0,), {}, "invalid_argument", "yclients_id"),
    ("get_service_by_id", (1, 0), {}, "invalid_argument", "company_id"),
    ("get_services_by_category", (1, 0), {}, "invalid_argument", "category_id"),
    ("get_services_by_category", (0, 1), {}, "invalid_argument", "company_id"),
    ("get_company", (0,), {}, "invalid_argument", "company_id"),
    *[
        ("upsert_dialog_context", (v,), {}, "invalid_argument", f)
        for v, f in [
            ({}, "user_id"),
            ({"user_id": ""}, "user_id"),
            ({"user_id": None}, "user_id"),
            ({"user_id": 7}, "user_id"),
            ([], None),
            (None, None),
            *[({"user_id": "x", name: 1}, None) for name in (5, 10**5000, None, "a b", "secret-1", "x" * 64, "\ud800")],
            ({"user_id": "x", "last_booking_id": "x"}, "last_booking_id"),
            ({"user_id": "x" * 256}, "user_id"),
            ({"user_id": "x", "company_id": -5}, "company_id"),
        ]
    ],
    ("upsert_company", ({"company_id": 1},), {}, "invalid_argument", "title"),
    ("upsert_company", ({"company_id": 1, "title": " \n"},), {}, "invalid_argument", "title"),
    ("upsert_company", ({"title": "x"},), {}, "invalid_argument", "company_id"),
    ("upsert_company", ({"company_id": -1, "title": "x"},), {}, "invalid_argument", "company_id"),
    ("upsert_client", (client(1, phone="нет"),), {}, "invalid_phone", "phone"),
    ("upsert_client", (client(1, phone=None),), {}, "invalid_argument", "phone"),
    ("upsert_client", ({"yclients_id": 1, "company_id": 1, "name": "x"},), {}, "invalid_argument", "phone"),
    ("upsert_client", ({"yclients_id": 1, "company_id": 1, "phone": "79684484488"},), {}, "invalid_argument", "name"),
    ("upsert_client", (client(1, name="\u2003"),), {}, "invalid_argument", "name"),
    ("upsert_client", (client(1, name="x" * 256),), {}, "invalid_argument", "name"),
]

BAD_COLUMNS: list[tuple[str, Any]] = [
    ("nope", 1),
    ("yclients_id", "1x"),
    ("yclients_id", None),
    ("yclients_id", 0),
    ("company_id", None),
    ("visit_count", True),
    ("visit_count", 2**31),
    ("visit_count", 1.0),
    ("visit_count", "1e3"),
    ("total_spent", "1,5"),
    ("total_spent", 10**10),
    ("total_spent", "9999999999.995"),
    ("total_spent", float("inf")),
    ("total_spent", "Infinity"),
    ("total_spent", "1e999"),
    ("total_spent", True),
    ("discount", "999.995"),
    ("email", 5),
    ("email", "a\0"),
    ("email", "\ud83d"),
    ("status", "x" * 51),
    ("blacklisted", "true"),
    ("blacklisted", 1),
    ("first_visit_date", "2026-02-29"),
    ("first_visit_date", datetime(2026, 1, 1)),
    ("last_sync_at", "yesterday"),
    ("last_sync_at", 5),
    ("created_at", datetime.min.replace(tzinfo=UTC).astimezone(UTC).replace(tzinfo=UTC).isoformat() + "x"),
    ("tags", "a"),
    ("tags", [1]),
    ("tags", ["a", ["b"]]),
    ("tags", [[], []]),
    ("branch_ids", [[1], [2, 3]]),
    ("branch_ids", [[1], None]),
    ("branch_ids", ["1", 2.5]),
    ("branch_ids", [[[1]]]),
    ("preferred_time_slots", ["x" * 51]),
    ("preferences", float("nan")),
    ("preferences", {"a": float("-inf")}),
    ("preferences", {1: 2}),
    ("preferences", {"a\0": 1}),
    ("preferences", ["a\0"]),
    ("preferences", ["\udc00"]),
    ("preferences", object()),
    ("preferences", {"d": time(1)}),
    ("preferences", {1, 2}),
    ("preferences", 10**4000),
    ("preferences", DEEP),
]


@pytest.mark.parametrize(("method", "arguments", "options", "code", "field"), CALLS)
async def test_bad_arguments(
    data: DataLayer, method: str, arguments: tuple[Any, ...], options: dict[str, Any], code: str, field: str | None
) -> None:
    answer = await getattr(data, method)(*arguments, **options)
    assert (answer.success, answer.data, answer.error_code, answer.metadata.get("field")) == (False, None, code, field)
    assert field is None or field in answer.error
    assert answer.operation == method


async def test_every_bad_column_of_a_row_in_a_batch(data: DataLayer, stores: Stores) -> None:
    for column, value in BAD_COLUMNS:
        answer = await data.upsert_clients([client(1), client(2, email="e"), client(3, **{column: value})])
        assert (answer.error_code, answer.metadata["field"], answer.metadata["index"]) == (
            "invalid_argument",
            column,
            2,
        ), (column, answer)
        assert answer.error is not None
        assert answer.error.startswith("row 2: ")
    assert (await data.get_client_by_id(1)).data is None


@pytest.mark.parametrize(
    ("method", "good"),
    [
        ("upsert_clients", client(1)),
        ("upsert_services", service(1)),
        ("upsert_staff_schedules", schedule(1, "2026-01-01")),
    ],
)
async def test_bad_batches(data: DataLayer, method: str, good: dict[str, Any]) -> None:
    call = getattr(data, method)
    for rows in ([], None, {}, "rows", 5, good, [good] * 501, (), iter([good])):
        assert (await call(rows)).error_code == "invalid_argument", rows
    for row in (None, 5, [], "x"):
        answer = await call([good, row])
        assert (answer.error_code, answer.metadata) == ("invalid_argument", {"index": 1})
    twice = await call([good, {**good}])
    assert (twice.error_code, twice.metadata["index"]) == ("duplicate_in_batch", 1)
    for column in good:
        lacking = {name: value for name, value in good.items() if name != column}
        answer = await call([lacking])
        assert (answer.error_code, answer.metadata) == ("invalid_argument", {"field": column, "index": 0})


async def test_the_same_key_written_differently_is_a_duplicate(data: DataLayer) -> None:
    answer = await data.upsert_clients(
        [client(1), client(2), {**client(1), "yclients_id": "1", "company_id": str(SALON)}]
    )
    assert (answer.error_code, answer.metadata["index"]) == ("duplicate_in_batch", 2)


async def test_one_given_primary_key_twice_is_a_duplicate(data: DataLayer) -> None:
    for rows in (
        [client(1), client(2, id=5), client(3, id="5")],
        [client(1), client(2, id=5), client(3, id=5, notes="n")],
    ):
        answer = await data.upsert_clients(rows)
        assert (answer.error_code, answer.metadata) == ("duplicate_in_batch", {"field": "id", "index": 2})
    assert (await data.get_client_by_id(1)).data is None


async def test_errors_repeat_no_values(data: DataLayer) -> None:
    for answer in (
        await data.get_client_by_phone("89684484488 secret"),
        await data.upsert_client(client(1, email="secret" + "x" * 300)),
        await data.upsert_client(client(1, preferences={"secret": object()})),
        await data.upsert_client({**client(1), "secret 89684484488": 1}),
    ):
        assert answer.error is not None
        assert "secret" not in answer.error
        assert "4488" not in answer.error
        assert "secret" not in str(answer.metadata)
