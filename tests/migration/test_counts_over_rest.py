"""An exact count that takes longer than the API lets it: asked once, and what is proved without it."""

from collections.abc import Callable

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.errors import MigrationError
from app.migration.copy.copier import CopyOptions
from app.migration.copy.dry_run import dry_run
from app.migration.retry import Limits
from app.migration.verify.options import VerifyOptions
from tests.migration.engine import (
    QUICK,
    Told,
    add_clients,
    copy_from,
    execute,
    row_texts,
    source_of,
    tables,
    verify_from,
)
from tests.migration.test_sync import sync_from
from tests.migration.test_sync_reverse import back
from tests.support import faults
from tests.support.faults import Fault, Hook, Request
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

WORDS = "clients: the exact count took longer than the API lets it; the keys are listed instead"


def _counts(request: Request) -> bool:
    return "count=exact" in request.headers.get("Prefer", "")


def _late(fault: Callable[[], Fault] = faults.statement_timeout, then: Hook = lambda _request: None) -> Hook:
    """Every exact count is cut off."""
    return lambda request: fault() if _counts(request) else then(request)


@pytest.mark.parametrize(("fault", "asked"), [(faults.statement_timeout, 1), (lambda: faults.status(504), 2)])
async def test_a_copy_asks_once_and_its_pages_decide(
    pages: PageServer, source_database: str, database_url: str, fault: Callable[[], Fault], asked: int
) -> None:
    add_clients(source_database, 60)
    pages.max_rows, pages.hook = 25, _late(fault)
    told = Told()
    report = await copy_from(pages, database_url, tables("clients"), told=told)
    assert (report.complete, report.tables[0].source_before, report.tables[0].source_after) == (True, None, 60)
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")
    assert sum(_counts(seen.request) for seen in pages.exchanges) == asked
    assert [notice.partition(", which")[0] for notice in told.notices if "exact count" in notice] == [WORDS]
    told = Told()
    assert (await verify_from(pages, database_url, tables("clients"), told=told)).clean
    execute(database_url, "DELETE FROM clients WHERE id = 7")
    found = (await verify_from(pages, database_url, tables("clients"))).tables[0]
    assert (found.source_rows, found.target_rows, found.missing) == (60, 59, 1)
    sampled = await verify_from(pages, database_url, tables("clients"), options=VerifyOptions(pause=0.01, sample=60))
    assert (sampled.tables[0].source_rows, sampled.tables[0].target_rows) == (60, 59)


async def test_the_keys_are_listed_until_twice_the_same(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    """A row that the pages and the first listing lack is found by the second, as the count would tell."""
    add_clients(source_database, 30)
    listings = 0

    def hide(request: Request) -> Fault | None:
        nonlocal listings
        lists = request.parameter("select") == "_0:id::text" and request.parameter("order") is not None
        listings += lists and request.parameter("id") is None
        whole = "_1:" in (request.parameter("select") or "") and not (request.parameter("id") or "").startswith("eq")
        hidden = whole or (lists and listings == 1)
        return faults.agreeing(faults.row_left_out(0.5)) if hidden and request.parameter("id") is None else None

    pages.hook = _late(then=hide)
    told = Told()
    assert (await copy_from(pages, database_url, tables("clients"), told=told)).complete
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")
    assert listings >= 3


async def test_a_copy_that_goes_on_counts_no_more_than_it_can(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 20)
    pages.hook = _late()
    await copy_from(pages, database_url, tables("clients"))
    report = await copy_from(pages, database_url, tables("clients"), options=CopyOptions(restart=True))
    assert (report.complete, report.tables[0].source_before) == (True, None)


async def test_a_trial_and_a_sync_there_and_back(pages: PageServer, source_database: str, database_url: str) -> None:
    add_clients(source_database, 20)
    pages.hook = _late()
    async with source_of(pages) as source:
        tried = await dry_run(source, database_url, tables("clients"), Told())
    assert (tried.tables[0].rows, tried.tables[0].tried) == (20, 20)
    with pytest.raises(MigrationError, match=r"never brought over from it: clients \(too many to be counted\)"):
        await back(pages, database_url, "clients")
    assert (await sync_from(pages, database_url, "clients")).complete
    execute(database_url, "UPDATE clients SET name = 'new' WHERE id = 3; DELETE FROM clients WHERE id = 4")
    assert (await back(pages, database_url, "clients")).complete
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


_BIG = Table("big", MetaData(), Column("id", Integer, primary_key=True, autoincrement=False), Column("body", Text))


async def test_a_view_that_no_statement_counts_in_time(databases: PostgresServer, fresh_database: str) -> None:
    source = databases.create_database()
    try:
        execute(
            source,
            "CREATE TABLE big_rows (id integer PRIMARY KEY, body text); "
            "INSERT INTO big_rows SELECT i, 'row ' || i FROM generate_series(1, 300) i; "
            "CREATE FUNCTION slowly(integer) RETURNS integer LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_sleep(0.003); RETURN $1; END $$; "
            "CREATE VIEW big AS SELECT id, body FROM big_rows WHERE slowly(id) > 0; "
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET statement_timeout = 600', current_database()); END $$",
        )
        execute(fresh_database, "CREATE TABLE big (id integer PRIMARY KEY, body text)")
        limits = Limits(page_rows=100, wait_initial=QUICK.wait_initial, wait_max=QUICK.wait_max)
        with PageServer(source) as pages:
            report = await copy_from(pages, fresh_database, [_BIG], limits=limits)
            assert (report.complete, report.tables[0].copied) == (True, 300)
            assert sum(_counts(seen.request) for seen in pages.exchanges) == 1
    finally:
        databases.drop_database(source)


@pytest.mark.parametrize("sqlstate", ["55P03", "40001", "40P01"])
async def test_a_lock_is_no_count_that_takes_too_long(
    pages: PageServer, source_database: str, database_url: str, sqlstate: str
) -> None:
    """It passes, and the count is asked for again."""
    add_clients(source_database, 3)
    body = f'{{"code":"{sqlstate}","details":null,"hint":null,"message":"lock not available"}}'.encode()
    locked: list[int] = []

    def hook(request: Request) -> Fault | None:
        if not _counts(request) or locked:
            return None
        locked.append(request.number)
        return lambda answer: faults.Answer(500, faults.JSON, body)

    pages.hook = hook
    told = Told()
    report = await copy_from(pages, database_url, tables("clients"), told=told)
    assert (report.complete, report.tables[0].source_before) == (True, 3)
    assert not [notice for notice in told.notices if "exact count" in notice]
