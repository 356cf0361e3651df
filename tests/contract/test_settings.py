"""What the settings change: limits, the size of a batch, the region of a phone number, the checks of input."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.data_layer import DataLayer
from app.settings import Settings
from tests.contract.stores import Stores, open_layer
from tests.contract.test_lists import insert_bookings
from tests.contract.test_upserts import SALON, client, schedule, service

CHANGED = {
    "max_limit": 3,
    "default_limit": 2,
    "max_batch_size": 2,
    "default_phone_region": "US",
    "validate_input": False,
}


@pytest.fixture(params=["supabase", "postgresql"])
async def changed(
    request: pytest.FixtureRequest, stores: Stores, contract_settings: Settings
) -> AsyncIterator[DataLayer]:
    """A data layer on one of the two backends, with other settings than the defaults."""
    layer = await open_layer(contract_settings.model_copy(update=CHANGED), request.param, stores.clock)
    yield layer
    await layer.close()


@pytest.mark.parametrize(("limit", "rows"), [(None, 2), (1, 1), (3, 3), (4, 3), (0, 1), (2**40, 3)])
async def test_limits(changed: DataLayer, stores: Stores, limit: int | None, rows: int) -> None:
    stores.insert("staff", {"yclients_id": 1, "company_id": SALON, "name": "Али"})
    stores.insert("staff_schedules", *[schedule(1, f"2026-01-0{day}") for day in range(1, 6)])
    stores.insert("clients", *[client(number) for number in range(1, 6)])
    insert_bookings(stores, [{"datetime": f"2026-11-0{day}"} for day in range(1, 6)])
    for answer in (
        await changed.get_client_appointments(5, limit=limit),
        await changed.search_clients_by_name(SALON, "анна", limit),
        await changed.get_staff_schedules(SALON, limit=limit),
    ):
        assert answer.data is not None
        assert len(answer.data) == rows, answer.operation


async def test_the_size_of_a_batch(changed: DataLayer) -> None:
    too_many = await changed.upsert_clients([client(number) for number in (1, 2, 3)])
    assert (too_many.error_code, too_many.error) == ("invalid_argument", "1 to 2 rows can be written at once, not 3")
    assert (await changed.upsert_clients([client(1), client(2)])).metadata["processed_count"] == 2


async def test_the_region_of_a_number_without_a_code(changed: DataLayer) -> None:
    written = await changed.upsert_client(client(1, phone="(212) 555-0123"))
    assert written.data is not None
    assert written.data.phone == "12125550123"
    found = await changed.get_client_by_phone("212 555 0123")
    assert found.data == written.data


async def test_unchecked_identifiers_and_names(changed: DataLayer) -> None:
    assert (await changed.get_client_by_id(-1)).success
    row = {"yclients_id": -1, "company_id": 0, "phone": "(212) 555-0123"}
    single = (await changed.upsert_client(row)).data
    assert single is not None
    assert (single.yclients_id, single.company_id, single.name) == (-1, 0, None)
    batch = (await changed.upsert_clients([{**row, "yclients_id": -2}, {**row, "notes": "n"}])).data
    assert batch is not None
    assert [(one.yclients_id, one.notes) for one in batch] == [(-2, None), (-1, "n")]
    context = (await changed.upsert_dialog_context({"user_id": "x", "company_id": -5})).data
    assert context is not None
    assert context.company_id == -5
    company = (await changed.upsert_company({"company_id": 0})).data
    assert company is not None
    assert (company.company_id, company.title) == (0, None)


async def test_what_a_store_could_not_take_is_refused_unchecked_too(changed: DataLayer, stores: Stores) -> None:
    stores.insert("clients", client(1, email="old"))
    stores.insert("services", service(1))
    for key, given, column in (
        ({"yclients_id": 1, "company_id": SALON}, client(2, notes="n"), "phone"),
        ({"yclients_id": 1, "company_id": SALON}, service(2, weight=5), "title"),
    ):
        batch = changed.upsert_clients if column == "phone" else changed.upsert_services
        for rows in ([key], [given, key]):
            answer = await batch(rows)
            assert (answer.error_code, answer.metadata) == (
                "invalid_argument",
                {"field": column, "index": len(rows) - 1},
            )
    single = await changed.upsert_client({"yclients_id": 1, "company_id": SALON, "email": "new"})
    assert (single.error_code, single.metadata) == ("invalid_argument", {"field": "phone"})
    kept = (await changed.get_client_by_id(1)).data
    assert kept is not None
    assert kept.email == "old"
    assert (await changed.get_client_by_id(2)).data is None
