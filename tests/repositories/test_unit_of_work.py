"""Repositories on their own: one transaction, committed or not, and errors by SQLSTATE."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, suppress
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy.engine import make_url

from app.data_layer.name_search import containing
from app.errors import (
    AmbiguousError,
    ConflictError,
    InvalidArgumentError,
    RejectedError,
    SchemaMismatchError,
    StoreError,
    UnavailableError,
    UnrepresentableValueError,
)
from app.repositories import ClientRepository, UnitOfWork
from app.stores.postgres.commit import transaction
from app.stores.postgres.database import Database
from tests.contract.stores import insert, rows_of


def client(number: int, **columns: Any) -> dict[str, Any]:
    return {"yclients_id": number, "company_id": 1, "phone": "79684484488", **columns}


async def test_a_commit_keeps_everything(database: Database, database_url: str) -> None:
    async with UnitOfWork(database) as work:
        clients = await work.clients.upsert([client(2, total_spent=Decimal("1.5")), client(1, name="Анна")])
        await work.services.upsert([{"yclients_id": 1, "company_id": 1, "title": "Стрижка"}])
        await work.staff.upsert([{"yclients_id": 1, "company_id": 1, "name": "Али"}])
        await work.staff_schedules.upsert([{"staff_id": 1, "date": date(2026, 1, 1)}])
        await work.companies.upsert([{"company_id": 1, "title": "Салон"}])
        await work.dialog_contexts.upsert([{"user_id": "7", "data": {"a": [1]}}])
        assert [row.yclients_id for row in clients] == [2, 1]
        assert await work.clients.get_by_yclients_id(1, 1) == clients[1]
        assert (
            await work.bookings.list_of_client(1, company_id=None, order_by="datetime", descending=True, limit=5) == []
        )
        await work.commit()
    for table in ("services", "staff", "staff_schedules", "companies", "dialog_contexts"):
        assert rows_of(database_url, f"SELECT count(*) FROM {table}") == [{"count": 1}]
    assert rows_of(database_url, "SELECT name, total_spent FROM clients ORDER BY yclients_id") == [
        {"name": "Анна", "total_spent": None},
        {"name": None, "total_spent": Decimal("1.50")},
    ]


async def test_what_is_not_committed_is_rolled_back(database: Database, database_url: str) -> None:
    async with UnitOfWork(database) as work:
        await work.clients.upsert([client(1)])
    with pytest.raises(ConflictError):
        await _two_writes(database, client(2, id=1), client(3, id=1))
    assert rows_of(database_url, "SELECT count(*) FROM clients") == [{"count": 0}]


@pytest.mark.parametrize("is_located", [False, True])
async def test_nothing_is_said_to_be_kept_after_a_statement_that_failed(
    database: Database, database_url: str, is_located: bool
) -> None:
    """PostgreSQL answers a COMMIT then with ROLLBACK, which is no error."""
    database.on_commit = (lambda _: None) if is_located else None
    with pytest.raises(StoreError, match="nothing of the transaction"):
        await _goes_on_after_a_refusal(database)
    with pytest.raises(StoreError, match="nothing of the transaction"):
        await _swallowing(database.transaction())
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        with pytest.raises(StoreError, match="nothing of the transaction"):
            await _swallowing(transaction(connection, seconds=5), connection)
        assert connection.info.transaction_status == TransactionStatus.IDLE
    assert rows_of(database_url, "SELECT count(*) FROM clients") == [{"count": 0}]


async def _goes_on_after_a_refusal(database: Database) -> None:
    async with UnitOfWork(database) as work:
        await work.clients.upsert([client(1)])
        with pytest.raises(RejectedError, match=r"does not fit its column \[SQLSTATE 22003\]$"):
            await work.clients.upsert([client(2, visit_count=2**40)])
        await work.commit()


async def _swallowing(within: AbstractAsyncContextManager[Any], connection: Any = None) -> None:
    async with within as given:
        with suppress(psycopg.Error):
            await (connection or given).execute("SELECT 1 / 0")


async def _two_writes(database: Database, *rows: dict[str, Any]) -> None:
    async with UnitOfWork(database) as work:
        for row in rows:
            await work.clients.upsert([row])
        await work.commit()


async def test_a_repository_reads_on_a_connection_of_its_own(database: Database, database_url: str) -> None:
    insert(database_url, "clients", {**client(1), "name": "Анна"}, {**client(2), "name": "Яна"})
    async with database.statements() as connection:
        clients = ClientRepository(connection)
        assert [row.name for row in await clients.search_by_name(1, containing("НА"), limit=5)] == ["Анна", "Яна"]
        with pytest.raises(AmbiguousError):
            await clients.get_by_phone("79684484488")


async def test_errors_by_sqlstate(database: Database, database_url: str) -> None:
    insert(database_url, "clients", {**client(1), "id": 1})
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        (client(2, id=1), ConflictError, "clients_pkey"),
        ({"yclients_id": 2, "company_id": 1}, RejectedError, "phone"),
        (client(2, visit_count=2**40), RejectedError, "22003"),
        (client(2, nope=1), InvalidArgumentError, "nope"),
    ]
    for row, kind, named in cases:
        with pytest.raises(kind, match=named):
            await _write(database, row)
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE clients RENAME COLUMN notes TO remarks")
    with pytest.raises(SchemaMismatchError, match="42703"):
        await _write(database, client(3))


async def test_a_server_that_takes_no_writes_at_the_moment_is_unavailable(database_url: str) -> None:
    """Nothing was done, and the same call can succeed later."""
    url = make_url(database_url).update_query_dict({"options": "-cdefault_transaction_read_only=on"})
    standby = Database(url.render_as_string(hide_password=False))
    with pytest.raises(UnavailableError, match=r"no writes at the moment \(read-only\) \[SQLSTATE 25006\]"):
        await _write(standby, client(1))
    await standby.close()
    assert rows_of(database_url, "SELECT count(*) FROM clients") == [{"count": 0}]


async def _write(database: Database, row: dict[str, Any]) -> None:
    async with UnitOfWork(database) as work:
        await work.clients.upsert([row])
        await work.commit()


async def test_an_unreadable_row_is_written_and_named(database: Database, database_url: str) -> None:
    insert(database_url, "clients", {**client(1), "id": 9, "last_sync_at": "-infinity"})
    async with UnitOfWork(database) as work:
        with pytest.raises(UnrepresentableValueError) as raised:
            await work.clients.upsert([client(1, name="Анна"), client(2, created_at=datetime(2026, 1, 1))])
        assert (raised.value.table, raised.value.key, raised.value.column) == ("clients", "9", "last_sync_at")
        await work.commit()
    assert rows_of(database_url, "SELECT yclients_id, name FROM clients ORDER BY 1") == [
        {"yclients_id": 1, "name": "Анна"},
        {"yclients_id": 2, "name": None},
    ]
