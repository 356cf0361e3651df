"""Upcoming appointments: from now on by the salon's clock, the active ones, at most ten."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from app.data_layer import DataLayer
from tests.contract.stores import Stores
from tests.contract.test_lists import OTHER, SALON, insert_bookings, records

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)  # 12:30 in Moscow


def at(*times: str, **columns: Any) -> list[dict[str, Any]]:
    return [{"datetime": f"2026-11-{time}", **columns} for time in times]


async def test_from_now_on_by_moscow_time(data: DataLayer, stores: Stores) -> None:
    insert_bookings(stores, at("21 12:29:59.999999", "21 12:30", "20 23:00", "21 09:31", "23 10:00", "22 10:00"))
    assert records(await data.get_upcoming_appointments(5, SALON)) == [2, 6, 5]


@pytest.mark.parametrize(
    ("timezone", "first"),
    [
        (None, 5),
        ("Europe/Moscow", 5),
        ("Asia/Yekaterinburg", 6),
        ("Pacific/Kiritimati", 7),
        ("Pacific/Midway", 2),
        ("UTC", 3),
        ("Europe/London", 3),
    ],
)
async def test_now_is_the_companys_time(
    data: DataLayer, stores: Stores, timezone: str | None, first: int, caplog: pytest.LogCaptureFixture
) -> None:
    stores.insert("companies", {"company_id": SALON, "timezone": timezone})
    insert_bookings(stores, at("20 22:29", "20 22:30", "21 09:30", "21 12:00", "21 12:30", "21 14:30", "21 23:30"))
    answer = await data.get_upcoming_appointments(5, SALON)
    assert records(answer) == list(range(first, 8))
    assert answer.metadata == {}
    assert not caplog.records


@pytest.mark.parametrize(
    "timezone", ["Nowhere/Land", "", "Europe", "../etc/passwd", "a" * 100, "GMT+3 ", "europe/moskow", "localtime"]
)
async def test_an_unknown_time_zone_is_the_default_with_a_warning(
    data: DataLayer, stores: Stores, timezone: str, caplog: pytest.LogCaptureFixture
) -> None:
    stores.insert("companies", {"company_id": SALON, "timezone": timezone})
    insert_bookings(stores, at("21 12:29", "21 12:30"))
    caplog.set_level(logging.WARNING, "app.data_layer")
    answer = await data.get_upcoming_appointments(5, SALON)
    assert records(answer) == [2]
    assert answer.metadata == {"warning": f"the time zone of company {SALON} is not known; Europe/Moscow is used"}
    assert [record.levelname for record in caplog.records if record.name == "app.data_layer"] == ["WARNING"]


async def test_a_company_without_bookings_and_an_unknown_zone_warns_too(data: DataLayer, stores: Stores) -> None:
    stores.insert("companies", {"company_id": SALON, "timezone": "Nowhere"})
    answer = await data.get_upcoming_appointments(5, SALON)
    assert (answer.data, list(answer.metadata)) == ([], ["warning"])


async def test_cancelled_and_deleted_are_left_out_and_null_is_not(data: DataLayer, stores: Stores) -> None:
    statuses = [None, "cancelled", "pending", "deleted", "", "Cancelled"]
    insert_bookings(stores, [{"datetime": f"2026-11-22 1{n}:00", "status": s} for n, s in enumerate(statuses)])
    assert records(await data.get_upcoming_appointments(5, SALON)) == [1, 3, 5, 6]


async def test_of_one_client_and_company_and_at_most_ten(data: DataLayer, stores: Stores) -> None:
    insert_bookings(
        stores,
        [
            *at(*[f"22 {hour:02}:00" for hour in range(23, 8, -1)]),
            *at("22 00:00", company_id=OTHER),
            *at("22 00:00", client_yclients_id=6),
            *at("22 09:00"),
        ],
    )
    assert records(await data.get_upcoming_appointments(5, SALON)) == [15, 18, 14, 13, 12, 11, 10, 9, 8, 7]


async def test_only_bookings_that_are_returned_must_be_readable(data: DataLayer, stores: Stores) -> None:
    stores.insert("companies", {"company_id": SALON, "timezone": "Asia/Yekaterinburg"})  # 14:30
    insert_bookings(
        stores,
        [
            *at("21 14:29", synced_at="infinity"),
            *at(*[f"22 {hour}:00" for hour in range(10, 20)]),
            *at("22 20:00", synced_at="infinity"),
        ],
    )
    assert records(await data.get_upcoming_appointments(5, SALON)) == list(range(2, 12))
    stores.execute("UPDATE companies SET timezone = 'Nowhere'")
    answer = await data.get_upcoming_appointments(5, SALON)
    assert (answer.error_code, list(answer.metadata)) == ("unrepresentable_value", [])
    stores.execute("UPDATE bookings SET synced_at = NULL WHERE yclients_record_id = 1")
    answer = await data.get_upcoming_appointments(5, SALON)
    assert (records(answer), list(answer.metadata)) == (list(range(1, 11)), ["warning"])


async def test_now_is_the_injected_clocks(data: DataLayer, stores: Stores) -> None:
    insert_bookings(stores, at("22 10:00"))
    stores.clock.now = datetime(2026, 11, 22, 7, 0, 1, tzinfo=UTC)
    assert records(await data.get_upcoming_appointments(5, SALON)) == []
