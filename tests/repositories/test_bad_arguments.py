"""What a repository on its own is given wrongly: nobody else's row, and an error that names column and row."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from app import models
from app.errors import DuplicateInBatchError, InvalidArgumentError
from app.repositories import (
    ClientRepository,
    CompanyRepository,
    DialogContextRepository,
    ServiceRepository,
    StaffRepository,
    UnitOfWork,
)
from app.stores.postgres.database import Database
from tests.contract.stores import insert, rows_of
from tests.repositories.test_unit_of_work import client


async def test_none_is_no_filter_that_may_be_left_out(database: Database, database_url: str) -> None:
    insert(database_url, "clients", client(5))
    insert(database_url, "services", {"yclients_id": 5, "company_id": 1, "title": "Стрижка"})
    insert(database_url, "staff", {"yclients_id": 5, "company_id": 1, "name": "Али"})
    insert(database_url, "companies", {"company_id": 1, "title": "Салон"})
    insert(database_url, "dialog_contexts", {"user_id": "7"})
    nothing: Any = None
    async with database.statements() as connection:
        clients, services, staff = (
            repository(connection) for repository in (ClientRepository, ServiceRepository, StaffRepository)
        )
        assert await clients.get_by_phone(nothing) is None
        assert await clients.get_by_yclients_id(nothing, 1) is None
        assert await services.get_by_yclients_id(nothing) is None
        assert await staff.get_by_yclients_id(5, nothing) is None
        assert await CompanyRepository(connection).get(nothing) is None
        assert await DialogContextRepository(connection).get(nothing) is None
        assert await clients.get_by_phone("79684484488") is not None
        assert await clients.get_by_yclients_id(5) is not None
        assert await services.get_by_yclients_id(5) is not None
        assert await services.get_by_yclients_id(5, 2) is None


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"yclients_id": 2, "phone": "7"}, "company_id"),
        (client(2, company_id=None), "company_id"),
        (client(2, company_id="1"), "company_id"),
        (client(2, yclients_id=True), "yclients_id"),
        (client(2, nope=1), "nope"),
        (client(2, visit_history=[float("nan")]), "visit_history"),
        (client(2, preferences={"a": float("inf")}), "preferences"),
        (client(2, preferences={(1, 2): 1}), "preferences"),
        (client(2, tags={"a"}), "tags"),
        (client(2, ai_context=CIRCLE), "ai_context"),
        (client(2, ai_context=DEEP), "ai_context"),
        (client(2, name="\ud800"), "name"),
    ],
)
async def test_a_bad_row_is_named_and_nothing_is_written(
    database: Database, database_url: str, row: dict[str, Any], field: str
) -> None:
    async with UnitOfWork(database) as work:
        with pytest.raises(InvalidArgumentError, match="row 1: ") as raised:
            await work.clients.upsert([client(1), row])
        assert (raised.value.field, raised.value.index) == (field, 1)
        await work.commit()
    assert rows_of(database_url, "SELECT count(*) FROM clients") == [{"count": 0}]


async def test_a_day_is_no_moment(database: Database) -> None:
    async with UnitOfWork(database) as work:
        with pytest.raises(InvalidArgumentError) as raised:
            await work.staff_schedules.upsert([{"staff_id": 1, "date": datetime(2026, 1, 1)}])
    assert (raised.value.field, raised.value.index) == ("date", 0)


async def test_one_key_twice(database: Database) -> None:
    async with UnitOfWork(database) as work:
        with pytest.raises(DuplicateInBatchError) as raised:
            await work.clients.upsert([client(1), client(2), client(1, name="Анна")])
        assert (raised.value.field, raised.value.index) == ("yclients_id", 2)
        with pytest.raises(DuplicateInBatchError) as raised:
            await work.clients.upsert([client(1, id=5), client(2), client(3), client(4, id=5)])
        assert (raised.value.field, raised.value.index) == ("id", 3)
        with pytest.raises(DuplicateInBatchError):
            await work.dialog_contexts.upsert([{"user_id": "7"}, {"user_id": "7"}])


async def test_a_model_that_is_not_written_through_here(database: Database) -> None:
    async with UnitOfWork(database) as work:
        with pytest.raises(InvalidArgumentError, match="bookings"):
            await work.upsert(models.Booking, [])
