"""Stored values: exact, of one type whichever store they come from, and an error where Python has no such value."""

from __future__ import annotations

from datetime import date, datetime, time, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from app.data_layer import DataLayer
from tests.contract.stores import Stores, rows_of
from tests.contract.test_upserts import SALON, client, schedule


async def test_every_type_of_a_client(data: DataLayer, stores: Stores) -> None:
    stores.insert(
        "clients",
        {
            **client(1),
            "id": 9,
            "discount": "NaN",
            "total_spent": "9999999999.99",
            "branch_ids": "[0:1]={5,6}",
            "tags": r'{NULL,"NULL","","\\","a \"b\"","{}"}',
            "visit_history": '{"a": 1.10, "big": 12345678901234567890, "f": 1.0, "e": 1e2, "s": "\\u20ac", "n": null}',
            "preferences": "null",
            "ai_context": '"text"',
            "goods_purchases": "[true, false, 0, -0.0]",
            "created_at": "2026-01-01 10:00:00.5",
            "updated_at": "0001-01-01 00:00:00",
            "last_visit_date": "9999-12-31",
            "ai_satisfaction_score": "-9.99",
            "blacklisted": None,
        },
    )
    row = (await data.get_client_by_id(1, SALON)).data
    assert row is not None
    assert row.discount is not None
    assert row.discount.is_nan()
    assert (row.total_spent, row.ai_satisfaction_score) == (Decimal("9999999999.99"), Decimal("-9.99"))
    assert (row.branch_ids, row.tags) == ([5, 6], [None, "NULL", "", "\\", 'a "b"', "{}"])
    assert repr(row.visit_history) == (
        "{'a': 1.1, 'e': 100, 'f': 1.0, 'n': None, 's': '€', 'big': 12345678901234567890}"
    )
    assert (row.preferences, row.ai_context, row.goods_purchases) == (None, "text", [True, False, 0, -0.0])
    assert (row.created_at, row.updated_at) == (datetime(2026, 1, 1, 10, 0, 0, 500000), datetime(1, 1, 1))
    assert (row.last_visit_date, row.blacklisted) == (date(9999, 12, 31), None)


UNREPRESENTABLE: list[tuple[str, str]] = [
    ("first_visit_date", "infinity"),
    ("last_visit_date", "-infinity"),
    ("first_visit_date", "0044-03-15 BC"),
    ("created_at", "10000-01-01"),
    ("last_sync_at", "infinity"),
]


@pytest.mark.parametrize(("column", "value"), UNREPRESENTABLE)
async def test_a_value_that_python_cannot_hold(data: DataLayer, stores: Stores, column: str, value: str) -> None:
    stores.insert("clients", {**client(1), "id": 7}, {**client(2, phone="79000000002"), "id": 8, column: value})
    answer = await data.get_client_by_id(2)
    assert (answer.success, answer.data, answer.error_code) == (False, None, "unrepresentable_value")
    assert answer.error == f"clients row 8: column {column} holds a value that Python cannot represent"
    assert (await data.get_client_by_id(1)).success
    by_phone = await data.get_client_by_phone("79000000002")
    assert by_phone.error_code == "unrepresentable_value"
    searched = await data.search_clients_by_name(SALON, "анна")
    assert searched.error_code == ("unrepresentable_value" if column == "last_visit_date" else None)


async def test_json_that_python_does_not_read(data: DataLayer, stores: Stores) -> None:
    stores.insert("clients", {**client(1), "id": 7, "preferences": "[" * 3000 + "]" * 3000})
    stores.insert("clients", {**client(2), "id": 8, "preferences": "[" + "1" * 5000 + "]"})
    for number in (1, 2):
        answer = await data.get_client_by_id(number)
        assert answer.error_code == "unrepresentable_value"
        assert answer.error is not None
        assert "column preferences" in answer.error


async def test_a_write_whose_row_cannot_be_returned_is_carried_out_and_says_so(data: DataLayer, stores: Stores) -> None:
    stores.insert("clients", {**client(2, phone="79000000002"), "id": 8, "last_sync_at": "infinity"})
    for rows in (
        [client(1, email="new"), client(2, email="new")],
        [client(2, notes="mixed"), client(3), client(4, visit_count=4)],
    ):
        answer = await data.upsert_clients(rows)
        assert (answer.error_code, answer.metadata) == ("unrepresentable_value", {"input_count": len(rows)})
        assert answer.error == (
            "clients row 8: column last_sync_at holds a value that Python cannot represent; "
            "the write itself was carried out"
        )
    single = await data.upsert_client(client(2, name="Борис"))
    assert single.error_code == "unrepresentable_value"
    assert rows_of(
        stores.url_of(data),
        "SELECT email, notes, name, last_sync_at::text, visit_count FROM clients ORDER BY yclients_id",
    ) == [
        {"email": "new", "notes": None, "name": "Анна", "last_sync_at": None, "visit_count": 0},
        {"email": "new", "notes": "mixed", "name": "Борис", "last_sync_at": "infinity", "visit_count": 0},
        {"email": None, "notes": None, "name": "Анна", "last_sync_at": None, "visit_count": 0},
        {"email": None, "notes": None, "name": "Анна", "last_sync_at": None, "visit_count": 4},
    ]


async def test_a_mixed_batch_writes_back_what_python_cannot_hold_that_python_cannot_hold(
    data: DataLayer, stores: Stores
) -> None:
    stores.insert("clients", {**client(1), "id": 8, "first_visit_date": "0044-03-15 BC", "discount": "NaN"})
    answer = await data.upsert_clients([client(1, email="e"), client(2, first_visit_date="2026-01-01", discount=1)])
    assert answer.error_code == "unrepresentable_value"
    assert rows_of(stores.url_of(data), "SELECT email, first_visit_date::text AS day, discount::text FROM clients") == [
        {"email": "e", "day": "0044-03-15 BC", "discount": "NaN"},
        {"email": None, "day": "2026-01-01", "discount": "1.00"},
    ]


async def test_rows_show_no_more_than_their_key(data: DataLayer, stores: Stores) -> None:
    stores.insert("clients", {**client(1), "id": 9})
    answer = await data.get_client_by_phone("79684484488")
    assert "ClientRow(id=9)" in repr(answer)
    assert "4488" not in repr(answer)


class _Day(date):
    """A date that a person reads, as a bot's own may be."""

    def isoformat(self) -> str:
        return self.strftime("%d.%m.%Y")

    __str__ = isoformat


class _Moment(datetime):
    def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:
        return "noon"

    __str__ = isoformat


class _Hour(time):
    def isoformat(self, timespec: str = "auto") -> str:
        return "noon"

    __str__ = isoformat


class _Id(UUID):
    def __str__(self) -> str:
        return "an id"


class _Float(float):
    """As numpy's float64 shows itself."""

    def __repr__(self) -> str:
        return f"np.float64({float(self)})"


class _Column(str, Enum):  # noqa: UP042 - whose str() is the member's name
    NAME = "name"
    NOTES = "notes"


async def test_values_of_a_caller_s_own_kinds_of_date_and_number(data: DataLayer) -> None:
    own = {
        "last_visit_date": _Day(2026, 2, 1),
        "created_at": _Moment(2026, 1, 1, 12),
        "total_spent": _Float(1.5),
        "discount": "0e200",
    }
    stored = (await data.upsert_client({**client(1), **own, _Column.NAME: "Борис", _Column.NOTES: _Column.NAME})).data
    assert stored is not None
    assert (stored.last_visit_date, stored.created_at) == (date(2026, 2, 1), datetime(2026, 1, 1, 12))
    assert (str(stored.total_spent), str(stored.discount)) == ("1.50", "0.00")
    assert (stored.name, stored.notes) == ("Борис", "name")
    conversation = {"user_id": "u", "id": _Id(int=5)}
    assert (await data.upsert_dialog_context(conversation)).success
    schedules = [
        {**schedule(7, _Day(2026, 2, 1)), "work_start": _Hour(10)},
        schedule(7, date(2026, 1, 2), is_working=True),
    ]
    answer = await data.upsert_staff_schedules(schedules)
    assert answer.success, answer
    assert [(row.date, row.work_start) for row in answer.data] == [
        (date(2026, 2, 1), time(10)),
        (date(2026, 1, 2), None),
    ]
    found = await data.get_staff_schedule(7, _Day(2026, 2, 1))
    assert found.data == answer.data[0]


class _NoMoment(datetime):
    """As pandas' NaT."""

    @property
    def year(self) -> Any:
        return float("nan")


async def test_a_moment_that_is_none_is_refused_unasked(data: DataLayer) -> None:
    answer = await data.upsert_client(client(1, created_at=_NoMoment(2026, 1, 1)))
    assert (answer.error_code, answer.metadata["field"]) == ("invalid_argument", "created_at")


async def test_a_zone_that_knows_no_offset_is_no_zone(data: DataLayer) -> None:
    class Unknown(tzinfo):
        def utcoffset(self, _: datetime | None) -> None:
            return None

    answer = await data.upsert_client(client(1, created_at=datetime(2026, 1, 1, 12, tzinfo=Unknown())))
    assert answer.data is not None
    assert answer.data.created_at == datetime(2026, 1, 1, 12)
