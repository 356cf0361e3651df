"""Syncs that read all pages, as of a view, whose rows have no xmin: what the pages leave out is asked for by key."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.errors import MigrationError
from app.migration.tables.metadata import select_tables
from tests.fixtures.sources import Source, served_in_pages
from tests.migration.engine import copy_from, execute, query, verify_from
from tests.migration.two_ends import sync_from
from tests.support import faults
from tests.support.faults import Answer, Fault, Hook, Request
from tests.support.postgres import PostgresServer

METADATA = MetaData()
Table("told", METADATA, Column("id", Integer, primary_key=True), Column("name", Text))
CHOSEN = select_tables(METADATA)
SERVED = (
    "CREATE TABLE kept (id integer PRIMARY KEY, name text); "
    "INSERT INTO kept SELECT n, 'name ' || n FROM generate_series(1, 20) n; "
    "CREATE VIEW told AS SELECT id, name FROM kept"
)
ROWS = "SELECT id, name FROM told ORDER BY id"
Served = Callable[[Hook], Source]


def _is_page(request: Request) -> bool:
    """Whether pages of whole rows are asked for, in the order of the key."""
    return request.parameter("order") is not None and "_1:" in (request.parameter("select") or "")


def _drop_row_7(answer: Answer) -> Answer:
    rows = [row for row in json.loads(answer.body) if row["_0"] != "7"] if answer.rows else []
    return replace(answer, body=json.dumps(rows).encode(), rows=len(rows))


@pytest.fixture
def served(databases: PostgresServer) -> Any:
    """A source with the view, whose server has the hook given."""
    with served_in_pages(databases, SERVED) as (server, source):

        def make(hook: Hook) -> Source:
            server.hook = hook
            return source

        yield make


async def test_a_row_goes_and_another_comes_while_pages_are_read(served: Served, fresh_database: str) -> None:
    execute(fresh_database, "CREATE TABLE told (id integer PRIMARY KEY, name text)")
    pages: list[int] = []
    listings_after: list[int] = []

    def hook(request: Request) -> Fault | None:
        if _is_page(request):
            pages.append(request.number)
            if len(pages) == 2:
                execute(source.database_url, "DELETE FROM kept WHERE id = 20")
        elif pages and not listings_after:
            listings_after.append(request.number)
            execute(source.database_url, "INSERT INTO kept VALUES (0, 'came'), (-1, 'came too')")
        return None

    source = served(hook)
    assert (await sync_from(source, fresh_database, CHOSEN, most_by_key=3)).complete
    assert listings_after
    assert (await sync_from(source, fresh_database, CHOSEN, most_by_key=3)).complete
    assert query(fresh_database, ROWS) == query(source.database_url, ROWS)


async def test_more_rows_go_while_pages_are_read_than_are_asked_for_by_key(served: Served, fresh_database: str) -> None:
    execute(fresh_database, "CREATE TABLE told (id integer PRIMARY KEY, name text)")
    pages: list[int] = []

    def hook(request: Request) -> Fault | None:
        if _is_page(request):
            pages.append(request.number)
            if len(pages) == 2:
                execute(source.database_url, "DELETE FROM kept WHERE id > 10")
        return None

    source = served(hook)
    assert (await sync_from(source, fresh_database, CHOSEN, most_by_key=3)).complete
    assert query(fresh_database, ROWS) == query(source.database_url, ROWS)


async def test_more_rows_are_left_out_than_are_asked_for_by_key(served: Served, fresh_database: str) -> None:
    execute(fresh_database, "CREATE TABLE told (id integer PRIMARY KEY, name text)")

    def first_page_only(answer: Answer) -> Answer:
        return replace(answer, body=b"[]", rows=0)

    def hook(request: Request) -> Fault | None:
        later = _is_page(request) and request.parameter("id") is not None
        return faults.agreeing(first_page_only) if later else None

    source = served(hook)
    with pytest.raises(MigrationError, match=r"the source's pages gave 4 rows, and left out more than 3 of those"):
        await sync_from(source, fresh_database, CHOSEN, most_by_key=3)
    served(lambda request: None)
    assert (await sync_from(source, fresh_database, CHOSEN, most_by_key=3)).complete
    assert query(fresh_database, ROWS) == query(source.database_url, ROWS)


async def test_a_row_that_the_pages_leave_out_is_found_though_another_comes(
    served: Served, fresh_database: str
) -> None:
    execute(fresh_database, "CREATE TABLE told (id integer PRIMARY KEY, name text)")
    source = served(lambda request: None)
    assert (await sync_from(source, fresh_database, CHOSEN)).complete
    came: list[int] = []

    def hook(request: Request) -> Fault | None:
        if not _is_page(request):
            return None
        if not came:
            came.append(request.number)
            execute(source.database_url, "INSERT INTO kept VALUES (21, 'came')")
        return faults.agreeing(_drop_row_7)

    execute(source.database_url, "UPDATE kept SET name = 'changed' WHERE id = 7")
    served(hook)
    assert (await sync_from(source, fresh_database, CHOSEN)).complete
    assert query(fresh_database, ROWS) == query(source.database_url, ROWS)
    served(lambda request: None)
    assert (await verify_from(source, fresh_database, CHOSEN)).clean


async def test_the_same_for_the_way_back(served: Served, fresh_database: str) -> None:
    """Of a table, where more rows have changed than are asked for by key."""
    execute(fresh_database, "CREATE TABLE told (id integer PRIMARY KEY, name text)")
    source = served(lambda request: None)
    execute(source.database_url, "DROP VIEW told; ALTER TABLE kept RENAME TO told")
    assert (await copy_from(source, fresh_database, CHOSEN)).complete
    execute(
        fresh_database,
        "UPDATE told SET name = 'changed' WHERE id IN (6, 7); DELETE FROM told WHERE id IN (9, 10); "
        "INSERT INTO told VALUES (21, 'came')",
    )
    served(lambda request: faults.agreeing(_drop_row_7) if _is_page(request) else None)
    report = await sync_from(source, fresh_database, CHOSEN, reverse=True, target_in_use=True, most_by_key=1)
    one = report.tables["told"]
    assert (report.complete, one.inserted, one.updated, one.deleted, one.unsettled) == (True, 1, 2, 2, 0)
    assert query(fresh_database, ROWS) == query(source.database_url, ROWS)
