"""Errors whose whole traceback, causes included, holds no value of a row: PostgreSQL's DETAIL quotes whole rows."""

from __future__ import annotations

import traceback
from typing import Any

import psycopg
import pytest

from app.errors import ConflictError, RejectedError, UnrepresentableValueError
from app.repositories import UnitOfWork
from app.stores.postgres.database import Database
from tests.contract.stores import insert
from tests.repositories.test_unit_of_work import client

PLANTED = {"phone": "79684484488", "name": "Planted Name", "notes": "Planted notes"}


async def _write(database: Database, row: dict[str, Any]) -> None:
    async with UnitOfWork(database) as work:
        await work.clients.upsert([row])
        await work.commit()


def told(error: BaseException) -> str:
    """Everything that a logged traceback shows, and what hangs on the causes beside."""
    shown = "".join(traceback.format_exception(error))
    cause = error.__cause__
    while cause is not None:
        shown += f"{cause!r} {vars(cause)!r}"
        cause = cause.__cause__
    return shown


@pytest.mark.parametrize(
    ("statement", "row", "kind", "sqlstate"),
    [
        ("ALTER TABLE clients ADD CHECK (visit_count < 5)", {"visit_count": 9}, RejectedError, "23514"),
        ("ALTER TABLE clients ALTER email SET NOT NULL", {"email": None}, RejectedError, "23502"),
        ("CREATE UNIQUE INDEX ON clients (phone)", {}, ConflictError, "23505"),
        ("SELECT 1", {"first_visit_date": "Planted day"}, RejectedError, "22007"),
    ],
)
async def test_a_refused_row(
    database: Database, database_url: str, statement: str, row: dict[str, Any], kind: type[Exception], sqlstate: str
) -> None:
    insert(database_url, "clients", {**client(1), **PLANTED, "email": "e"})
    with psycopg.connect(database_url) as connection:
        connection.execute(statement.encode())
    with pytest.raises(kind) as raised:
        await _write(database, {**client(2), **PLANTED, **row})
    shown = told(raised.value)
    assert f"SQLSTATE {sqlstate}" in shown
    assert "4484488" not in shown
    assert "Planted" not in shown


async def test_an_unreadable_value(database: Database, database_url: str) -> None:
    insert(database_url, "clients", {**client(1), "first_visit_date": "0044-03-15 BC"})
    async with UnitOfWork(database) as work:
        with pytest.raises(UnrepresentableValueError) as read:
            await work.clients.get_by_yclients_id(1)
        with pytest.raises(UnrepresentableValueError) as written:
            await work.clients.upsert([client(1)])
    for raised in (read, written):
        assert "first_visit_date" in told(raised.value)
        assert "0044-03-15" not in told(raised.value)
        assert " BC" not in told(raised.value)
