"""Listings of the keys over REST: which of them are whole, with and without a count that comes in time."""

import json
from collections.abc import Callable, Set
from dataclasses import replace
from typing import Any

import pytest

from app.errors import MigrationError
from tests.fixtures.sources import Source, served_in_pages
from tests.migration.engine import copy_from, execute, verify_from
from tests.migration.test_counts_agree import CHOSEN, SOURCE, TABLE, rows_of
from tests.migration.two_ends import sync_from
from tests.support import faults
from tests.support.faults import Answer, Fault, Hook, Request
from tests.support.postgres import PostgresServer


def _without(hidden: Set[str]) -> Fault:
    """A page without the rows of these keys."""

    def drop(answer: Answer) -> Answer:
        rows = [row for row in json.loads(answer.body) if row["_0"] not in hidden] if answer.rows else []
        return replace(answer, body=json.dumps(rows).encode(), rows=len(rows))

    return faults.agreeing(drop)


def _uncounted(forward: Set[str] = frozenset(), backward: Set[str] = frozenset(), *, pages: bool = False) -> Hook:
    """No count comes in time; a walk leaves keys out in one direction or the other, and `pages` of whole rows too."""

    def hook(request: Request) -> Fault | None:
        if "count=exact" in request.headers.get("Prefer", ""):
            return faults.statement_timeout()
        order = request.parameter("order")
        if order is None or ("_1:" in (request.parameter("select") or "") and not pages):
            return None
        hidden = backward if ".desc" in order else forward
        return _without(hidden) if hidden else None

    return hook


Uncounted = Callable[[Hook], Source]


@pytest.fixture
def uncounted(databases: PostgresServer) -> Any:
    """A source of twenty rows whose server has the hook given."""
    with served_in_pages(databases, SOURCE) as (server, source):

        def make(hook: Hook) -> Source:
            server.hook = hook
            return source

        yield make


async def test_two_walks_that_agree_are_whole(uncounted: Uncounted, fresh_database: str) -> None:
    execute(fresh_database, TABLE)
    source = uncounted(_uncounted())
    report = await copy_from(source, fresh_database, CHOSEN)
    assert (report.complete, report.tables[0].source_before, report.tables[0].source_after) == (True, None, 20)
    assert (await verify_from(source, fresh_database, CHOSEN)).clean
    assert (await sync_from(source, fresh_database, CHOSEN)).complete


@pytest.mark.parametrize("hook", [_uncounted({"7"}), _uncounted(backward={"7"})], ids=["forward", "backward"])
async def test_a_walk_that_leaves_a_row_out_in_one_direction(
    uncounted: Uncounted, fresh_database: str, hook: Hook
) -> None:
    execute(fresh_database, TABLE)
    source = uncounted(_uncounted())
    assert (await copy_from(source, fresh_database, CHOSEN)).complete
    before = rows_of(fresh_database)
    uncounted(hook)
    report = await copy_from(source, fresh_database, CHOSEN)
    assert not report.complete
    told = report.tables[0].disagreement or ""
    assert told.startswith("the source could not count its rows in time, and ")
    assert "an index in the order of another collation version" in told
    for step in (verify_from, sync_from):
        with pytest.raises(MigrationError, match="items: the source could not count its rows in time, and"):
            await step(source, fresh_database, CHOSEN)
    assert rows_of(fresh_database) == before


async def test_a_third_walk_does_not_stand_for_the_second(uncounted: Uncounted, fresh_database: str) -> None:
    """The first and the third go the same way, and leave out the same row; the second one lacks more."""
    execute(fresh_database, TABLE)
    source = uncounted(_uncounted({"7"}, {"7", "8"}, pages=True))
    report = await copy_from(source, fresh_database, CHOSEN)
    assert len(rows_of(fresh_database)) == 19
    assert not report.complete
    assert (report.tables[0].disagreement or "").startswith("the source could not count its rows in time, and 19 came")
    with pytest.raises(MigrationError, match="items: the source could not count its rows in time, and 19 came"):
        await verify_from(source, fresh_database, CHOSEN)


async def test_a_row_that_went_does_not_stand_for_one_that_is_left_out(
    databases: PostgresServer, fresh_database: str
) -> None:
    """The first listing lacks a row and has one that is gone when the second one is made."""
    hidden, counts = faults.agreeing(_without({"7"})), []
    execute(fresh_database, TABLE)
    with served_in_pages(databases, SOURCE) as (server, source):

        def hook(request: Request) -> Fault | None:
            if "count=exact" in request.headers.get("Prefer", ""):
                counts.append(request.number)
            elif len(counts) == 1 and request.parameter("order"):  # the first listing was counted, the next one begins
                execute(source.database_url, "DELETE FROM items WHERE id = 9")
            return hidden if request.parameter("id") == "in.(7)" or request.parameter("order") else None

        assert (await copy_from(source, fresh_database, CHOSEN)).complete
        server.hook = hook
        with pytest.raises(MigrationError, match="items: the source counts 20 rows, and 18 came, with 19"):
            await sync_from(source, fresh_database, CHOSEN)
        assert len(rows_of(fresh_database)) == 20
        server.hook = lambda request: None
        assert (await sync_from(source, fresh_database, CHOSEN)).tables["items"].deleted == 1


async def test_a_count_that_fails_later_does_not_take_back_an_earlier_one(
    uncounted: Uncounted, fresh_database: str
) -> None:
    """The first count proved that a row is left out; two walks that go the same way prove nothing against it."""
    execute(fresh_database, TABLE)
    source = uncounted(lambda request: None)
    assert (await copy_from(source, fresh_database, CHOSEN)).complete
    hidden, counts = faults.agreeing(_without({"7"})), []

    def hook(request: Request) -> Fault | None:
        if "count=exact" in request.headers.get("Prefer", ""):
            counts.append(request.number)
            return faults.statement_timeout() if len(counts) > 1 else None
        return hidden if request.parameter("id") == "in.(7)" or request.parameter("order") else None

    uncounted(hook)
    with pytest.raises(MigrationError, match="items: the source counts 20 rows, and 19 came"):
        await sync_from(source, fresh_database, CHOSEN)
    assert len(rows_of(fresh_database)) == 20


async def test_rows_that_come_and_go_explain_how_three_walks_differ(uncounted: Uncounted, fresh_database: str) -> None:
    execute(fresh_database, TABLE)
    source = uncounted(_uncounted())
    assert (await copy_from(source, fresh_database, CHOSEN)).complete
    moved: set[str] = set()

    def once(statement: str) -> None:
        if statement not in moved:
            moved.add(statement)
            execute(source.database_url, statement)

    def hook(request: Request) -> Fault | None:
        if ".desc" in (request.parameter("order") or ""):  # the second walk
            once("DELETE FROM items WHERE id = 7; INSERT INTO items SELECT 21, name FROM items WHERE id = 6")
            if request.parameter("id") is not None:  # and it has come past the last rows
                once("DELETE FROM items WHERE id = 20; INSERT INTO items SELECT 22, name FROM items WHERE id = 6")
        return _uncounted()(request)

    uncounted(hook)
    report = await sync_from(source, fresh_database, CHOSEN)
    assert (report.complete, len(moved)) == (True, 2)
    uncounted(_uncounted())
    assert (await sync_from(source, fresh_database, CHOSEN)).complete
    assert rows_of(fresh_database) == rows_of(source.database_url)


@pytest.mark.parametrize("hidden", ["second", "second and third", "first and third"])
async def test_what_three_walks_do_not_agree_on(uncounted: Uncounted, fresh_database: str, hidden: str) -> None:
    """A row is left out, while others come and go."""
    execute(fresh_database, TABLE)
    source = uncounted(_uncounted())
    assert (await copy_from(source, fresh_database, CHOSEN)).complete
    walks: list[str] = []

    def hook(request: Request) -> Fault | None:
        if request.parameter("order") is not None and request.parameter("id") is None:
            walks.append(["first", "second", "third"][len(walks)])
            if walks[-1] == "second":
                execute(source.database_url, "INSERT INTO items SELECT 21, name FROM items WHERE id = 6")
        if request.parameter("order") is not None and walks[-1] in hidden:
            return _without({"7"})
        return _uncounted()(request)

    uncounted(hook)
    with pytest.raises(MigrationError, match="items: the source could not count its rows in time, and"):
        await sync_from(source, fresh_database, CHOSEN)
    assert walks == ["first", "second", "third"]
    assert len(rows_of(fresh_database)) == 20


async def test_a_copy_that_is_not_whole_is_compared_with_nothing(uncounted: Uncounted, fresh_database: str) -> None:
    """Its rows would be compared, since the target makes a column by itself; but a comparison stops at such a table."""
    execute(
        fresh_database, "CREATE TABLE items (id integer PRIMARY KEY, name text GENERATED ALWAYS AS ('item') STORED)"
    )
    hidden = faults.agreeing(_without({"7"}))
    source = uncounted(lambda request: hidden if request.parameter("order") else None)
    report = await copy_from(source, fresh_database, CHOSEN)
    assert not report.complete
    assert (report.tables[0].disagreement or "").startswith("the source counts 20 rows, and 19 came")
