"""Answers that look right and are not: none of them may cost a row, or make another one of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.migration.engine import Told, add_clients, copy_from, execute, hiding, row_texts, tables, value, verify_from
from tests.migration.test_sync import sync_from
from tests.support import faults
from tests.support.faults import Answer, Fault, Request
from tests.support.page_server import PageServer

_HTML = faults.Unreached(faults.html_page())


def _once(wanted: Any, fault: Fault) -> Any:
    """A hook: a fault in the first request that is wanted."""
    done: list[int] = []

    def hook(request: Request) -> Fault | None:
        if done or not wanted(request):
            return None
        done.append(request.number)
        return fault

    return hook


def _is_listing(request: Request) -> bool:
    """Whether keys (and versions) alone are asked for, page by page."""
    return bool(request.parameter("order")) and "_1:" not in (request.parameter("select") or "")


@pytest.mark.parametrize("location", [True, False])
async def test_a_page_of_another_table(
    pages: PageServer, source_database: str, database_url: str, location: bool
) -> None:
    """Its columns have the same short names, and those that it lacks would be NULL."""
    execute(source_database, "INSERT INTO messages (id, content) VALUES (gen_random_uuid(), 'text')")
    execute(source_database, "INSERT INTO actions (id, status) VALUES (gen_random_uuid(), 'done')")
    kept: dict[str, Answer] = {}
    given: list[str] = []

    def hook(request: Request) -> Fault | None:
        if "_1:" not in (request.parameter("select") or "") or given:
            return None
        if not kept:

            def keep(answer: Answer) -> Answer:
                kept[request.table] = answer if location else replace(answer, headers=faults.JSON)
                return answer

            return keep
        if request.table in kept:
            return None
        given.append(request.table)
        return faults.instead(next(iter(kept.values())))

    pages.hook = hook
    told = Told()
    report = await copy_from(pages, database_url, tables("messages", "actions"), told=told)
    assert report.complete
    assert (len(given), len(told.notices)) == (1, 1)
    for table in ("messages", "actions"):
        assert row_texts(database_url, table) == row_texts(source_database, table)


async def test_keys_where_whole_rows_were_asked_for(pages: PageServer, source_database: str, database_url: str) -> None:
    execute(
        source_database, "INSERT INTO messages (id, content) SELECT gen_random_uuid(), n FROM generate_series(1,3) n"
    )
    await copy_from(pages, database_url, tables("messages"))
    execute(database_url, "TRUNCATE messages; DROP SCHEMA botdata CASCADE")

    def keys_alone(answer: Answer) -> Answer:
        rows = b", \n ".join(b'{"_0":%b}' % row.split(b",")[0].partition(b":")[2] for row in answer.body.split(b"\n"))
        return replace(answer, body=b"[" + rows + b"]")

    pages.hook = _once(lambda request: "_1:" in (request.parameter("select") or ""), keys_alone)
    told = Told()
    assert (await copy_from(pages, database_url, tables("messages"), told=told)).complete
    assert [notice.partition(": ")[2].partition(";")[0] for notice in told.notices] == [
        "Supabase answered with rows of other columns than were asked for"
    ]
    assert row_texts(database_url, "messages") == row_texts(source_database, "messages")


async def test_a_row_left_out_of_a_page_is_asked_for_again(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 9)
    pages.hook = _once(lambda request: request.parameter("order"), faults.row_left_out(0.5))
    told = Told()
    report = await copy_from(pages, database_url, tables("clients"), told=told)
    assert (report.complete, report.tables[0].inserted, report.tables[0].came) == (True, 9, 0)
    assert len(told.notices) == 1


async def test_a_row_left_out_of_a_page_and_of_the_keys(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    """Neither says so; but the count is exact."""
    add_clients(source_database, 9)
    hide, seen = hiding("5", "7"), [0]

    def hook(request: Request) -> Fault | None:
        if _is_listing(request) and not seen[0]:
            seen[0] = request.number
            return faults.agreeing(faults.row_left_out(0.5))
        return hide(request)

    pages.hook = hook
    report = await copy_from(pages, database_url, tables("clients"))
    assert seen[0]
    assert (report.complete, report.tables[0].came) == (True, 2)
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


async def test_a_sync_sees_a_change_although_the_keys_leave_it_out_once(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 9)
    await sync_from(pages, database_url, "clients")
    execute(source_database, "UPDATE clients SET name = 'changed' WHERE id = 5")
    pages.hook = _once(_is_listing, faults.agreeing(faults.row_left_out(0.5)))
    assert (await sync_from(pages, database_url, "clients")).complete
    assert value(database_url, "SELECT name FROM clients WHERE id = 5") == "changed"


async def test_a_deletion_that_was_answered_with_a_page_for_people(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 9)
    await sync_from(pages, database_url, "clients")
    execute(database_url, "DELETE FROM clients WHERE id = 5")
    pages.hook = _once(lambda request: request.method == "DELETE", _HTML)
    report = await sync_from(pages, database_url, "clients", reverse=True, overwrite=True)
    assert (report.complete, report.tables["clients"].deleted) == (True, 1)
    assert row_texts(source_database, "clients") == row_texts(database_url, "clients")


async def test_a_write_that_was_answered_with_a_page_for_people(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 9)
    await sync_from(pages, database_url, "clients")
    execute(database_url, "UPDATE clients SET name = 'changed' WHERE id = 5")
    pages.hook = _once(lambda request: request.method == "POST", _HTML)
    report = await sync_from(pages, database_url, "clients", reverse=True, overwrite=True)
    assert report.complete
    assert row_texts(source_database, "clients") == row_texts(database_url, "clients")


@pytest.mark.parametrize("lie", ["*/0", "0-0/1", "*/*", "0-8/9", "x"])
async def test_counts_that_cannot_be(pages: PageServer, source_database: str, database_url: str, lie: str) -> None:
    add_clients(source_database, 9)
    pages.hook = _once(lambda request: request.headers.get("Prefer"), faults.content_range(lie))
    assert (await copy_from(pages, database_url, tables("clients"))).complete
    assert (await verify_from(pages, database_url, tables("clients"))).clean
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")
