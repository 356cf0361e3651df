"""Lookups of one row: found, not found, ambiguous, of one company only."""

from __future__ import annotations

from datetime import date, time
from uuid import UUID

import pytest

from app.data_layer import DataLayer
from tests.contract.stores import NOW, Stores

SALON, OTHER = 962302, 962303


@pytest.fixture
def clients(stores: Stores) -> None:
    stores.insert(
        "clients",
        {"id": 1, "yclients_id": 11, "company_id": SALON, "phone": "79684484488", "name": "Анна"},
        {"id": 2, "yclients_id": 12, "company_id": SALON, "phone": "79000000002", "name": "Борис"},
        {"id": 3, "yclients_id": 12, "company_id": OTHER, "phone": "79000000003", "name": "Вера"},
        {"id": 4, "yclients_id": 13, "company_id": OTHER, "phone": "79684484488", "name": "Галя"},
        {"id": 5, "yclients_id": 14, "company_id": OTHER, "phone": "380501234567", "name": "Дима"},
        {"id": 6, "yclients_id": 15, "company_id": OTHER, "phone": "79000000006", "name": "Ева"},
        {"id": 7, "yclients_id": 16, "company_id": OTHER, "phone": "79000000006", "name": "Жора"},
    )


@pytest.mark.parametrize(
    "phone",
    ["8 968 448-44-88", "+7 (968) 448 44 88", "9684484488", "79684484488@c.us", "79684484488:12@s.whatsapp.net"],
)
async def test_client_by_phone_however_it_is_written(data: DataLayer, clients: None, phone: str) -> None:
    answer = await data.get_client_by_phone(phone, SALON)
    assert answer.success
    assert answer.data is not None
    assert (answer.data.id, answer.data.name, answer.data.phone) == (1, "Анна", "79684484488")
    assert (answer.operation, answer.timestamp, answer.metadata) == ("get_client_by_phone", NOW, {})


async def test_client_by_phone_of_another_country(data: DataLayer, clients: None) -> None:
    answer = await data.get_client_by_phone("+380 50 123-45-67")
    assert answer.data is not None
    assert answer.data.id == 5


async def test_client_by_phone_not_found(data: DataLayer, clients: None) -> None:
    for answer in (await data.get_client_by_phone("79000000099"), await data.get_client_by_phone("79000000002", OTHER)):
        assert (answer.success, answer.data, answer.error_code) == (True, None, None)


async def test_client_by_phone_shared_by_two_companies(data: DataLayer, clients: None) -> None:
    answer = await data.get_client_by_phone("79684484488")
    assert (answer.success, answer.data, answer.error_code) == (False, None, "ambiguous")
    found = await data.get_client_by_phone("79684484488", str(OTHER))
    assert found.data is not None
    assert found.data.id == 4


async def test_client_by_phone_shared_within_a_company(data: DataLayer, clients: None) -> None:
    for company_id in (None, OTHER):
        assert (await data.get_client_by_phone("79000000006", company_id)).error_code == "ambiguous"


async def test_client_by_id(data: DataLayer, clients: None) -> None:
    assert [
        (answer.data.id if answer.data else None, answer.error_code)
        for answer in [
            await data.get_client_by_id(11),
            await data.get_client_by_id("11", "962302"),
            await data.get_client_by_id(11, OTHER),
            await data.get_client_by_id(12),
            await data.get_client_by_id(12, OTHER),
            await data.get_client_by_id(99),
        ]
    ] == [(1, None), (1, None), (None, None), (None, "ambiguous"), (3, None), (None, None)]


async def test_service_by_id(data: DataLayer, stores: Stores) -> None:
    stores.insert(
        "services",
        {"id": 1, "yclients_id": 5, "company_id": SALON, "title": "Стрижка"},
        {"id": 2, "yclients_id": 5, "company_id": OTHER, "title": "Воск"},
        {"id": 3, "yclients_id": 6, "company_id": OTHER, "title": "Окрашивание", "is_active": False},
    )
    assert [
        (answer.data.title if answer.data else None, answer.error_code)
        for answer in [
            await data.get_service_by_id(5),
            await data.get_service_by_id(5, OTHER),
            await data.get_service_by_id(6),
            await data.get_service_by_id(6, SALON),
        ]
    ] == [(None, "ambiguous"), ("Воск", None), ("Окрашивание", None), (None, None)]


async def test_staff_by_id_of_its_company_only(data: DataLayer, stores: Stores) -> None:
    stores.insert(
        "staff",
        {"id": 1, "yclients_id": 5, "company_id": SALON, "name": "Али", "rating": "4.5"},
        {"id": 2, "yclients_id": 5, "company_id": OTHER, "name": "Бари"},
    )
    found = await data.get_staff_by_id(5, OTHER)
    assert found.data is not None
    assert (found.data.id, found.data.name) == (2, "Бари")
    assert (await data.get_staff_by_id(5, 1)).data is None


async def test_staff_schedule_of_a_day(data: DataLayer, stores: Stores) -> None:
    stores.insert("staff", {"yclients_id": 5, "company_id": SALON, "name": "Али"})
    stores.insert(
        "staff_schedules",
        {"id": 1, "staff_id": 5, "date": "2026-11-01", "staff_name": "Али", "work_start": "10:00", "work_end": "24:00"},
        {"id": 2, "staff_id": 5, "date": "2026-11-02", "staff_name": "Али"},
        {"id": 3, "staff_id": 6, "date": "2026-11-01", "staff_name": "Бари"},
    )
    found = (await data.get_staff_schedule(5, "2026-11-01", SALON)).data
    assert found is not None
    assert (found.id, found.date, found.work_start, found.work_end) == (1, date(2026, 11, 1), time(10), time.max)
    assert [
        answer.data.id if answer.data else None
        for answer in [
            await data.get_staff_schedule(5, date(2026, 11, 2)),
            await data.get_staff_schedule(5, date(2026, 11, 2), SALON),
            await data.get_staff_schedule(5, date(2026, 11, 2), OTHER),
            await data.get_staff_schedule(6, date(2026, 11, 1)),
            await data.get_staff_schedule(6, date(2026, 11, 1), SALON),
            await data.get_staff_schedule(5, date(2026, 11, 3)),
        ]
    ] == [2, 2, None, 3, None, None]


async def test_company_by_company_id(data: DataLayer, stores: Stores) -> None:
    stores.insert(
        "companies",
        {"id": 1, "company_id": SALON, "yclients_id": 7, "title": "Салон", "coordinate_lat": "55.646223"},
        {"id": 2, "company_id": 7, "yclients_id": SALON, "title": "Другой"},
    )
    found = (await data.get_company(SALON)).data
    assert found is not None
    assert (found.id, found.title, str(found.coordinate_lat), found.sync_enabled) == (1, "Салон", "55.6462230", True)
    assert (await data.get_company(8)).data is None


@pytest.mark.parametrize("user_id", ["79684484488", "12345@lid", 'a,b"c(d)\\*%_.e', "пользователь", " x "])
async def test_dialog_context_by_any_text(data: DataLayer, stores: Stores, user_id: str) -> None:
    stores.insert(
        "dialog_contexts",
        {"id": "00000000-0000-4000-8000-000000000001", "user_id": user_id, "data": '{"step": 1}', "message_count": 3},
        {"id": "00000000-0000-4000-8000-000000000002", "user_id": "somebody else"},
    )
    found = (await data.get_dialog_context(user_id)).data
    assert found is not None
    assert (found.id, found.user_id) == (UUID("00000000-0000-4000-8000-000000000001"), user_id)
    assert (found.data, found.message_count, found.messages) == ({"step": 1}, 3, None)
    assert (await data.get_dialog_context("nobody")).data is None


async def test_health_check(data: DataLayer, stores: Stores) -> None:
    answer = await data.health_check()
    assert answer.data is not None
    assert (answer.data.healthy, answer.data.limit) == (True, 5.0)
    assert 0 < answer.data.response_time < 5
