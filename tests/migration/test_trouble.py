"""Transient failures are survived exactly, lasting ones stop with the way on; pages fit the server and the memory."""

import asyncio
from dataclasses import replace
from time import monotonic
from urllib.parse import urlsplit

import pytest

from app.errors import MigrationError
from app.migration.copy import copier as copy_module
from app.migration.load.loader import PageLoader
from app.migration.retry import Limits
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import Page
from tests.fixtures.sources import Source as Served
from tests.migration.engine import Told, add_clients, copy_from, execute, query, row_texts, tables, value, whole_rows
from tests.support import faults
from tests.support.faults import Answer, Delivery, Fault, Request
from tests.support.page_server import PageServer

TRANSIENT = {
    "429": faults.status(429),
    "429 with Retry-After": faults.status(429, retry_after=0),
    "429 with a date": faults.status(429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"),
    **{str(code): faults.status(code) for code in (500, 502, 503, 504, 520, 521, 522, 523, 524)},
    "statement timeout": faults.statement_timeout(),
    "HTML": faults.html_page(),
    "garbage": faults.garbage(),
    "cut JSON": faults.cut_json(),
    "slow": faults.delivered(Delivery.SLOW, pause=0.005),
    "short": faults.delivered(Delivery.SHORT),
    "reset in the body": faults.delivered(Delivery.RESET_IN_BODY, pause=0.01),
    "reset": faults.delivered(Delivery.RESET),
}


def cut_at_a_bracket() -> Fault:
    """A body cut where it happens to end as a whole one does."""
    return lambda answer: Answer(200, answer.headers, answer.body[: answer.body.index(b"]") + 1], answer.rows)


@pytest.mark.parametrize("fault", [*TRANSIENT, "cut at a bracket"])
async def test_a_transient_failure_is_survived(
    pages: PageServer, source_database: str, database_url: str, fault: str
) -> None:
    add_clients(source_database, 60)
    execute(source_database, "UPDATE clients SET preferences = '[1.10]' WHERE id = 3")
    pages.max_rows = 25
    spoiled = TRANSIENT.get(fault) or cut_at_a_bracket()
    pages.hook = faults.at({3: spoiled, 5: spoiled, 6: spoiled})  # after the look at the settings
    told = Told()
    report = await copy_from(pages, database_url, tables("clients"), told=told)
    assert (report.complete, report.tables[0].inserted) == (True, 60)
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")
    assert bool(told.notices) == (fault != "slow")


async def test_a_server_that_never_answers_once(pages: PageServer, source_database: str, database_url: str) -> None:
    add_clients(source_database, 10)
    pages.hook = faults.at({2: faults.delivered(Delivery.NEVER)})
    report = await copy_from(pages, database_url, tables("clients"), request_timeout=0.5)
    assert report.complete


async def test_many_failures(pages: PageServer, source_database: str, database_url: str) -> None:
    add_clients(source_database, 200)
    pages.max_rows = 9
    pages.hook = faults.seeded(7, 0.4, list(TRANSIENT.values()))
    assert (await copy_from(pages, database_url, tables("clients"))).complete
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


async def test_retry_after_is_honoured(pages: PageServer, source_database: str, database_url: str) -> None:
    add_clients(source_database, 10)
    pages.hook = faults.at({2: faults.status(429, retry_after=1)})
    told, began = Told(), monotonic()
    await copy_from(pages, database_url, tables("clients"), told=told)
    assert monotonic() - began > 0.9  # without the header it would be 0.01 s
    assert told.notices == [
        f"{urlsplit(pages.url).netloc}: Supabase limits the rate [HTTP 429]; trying again in 1 s (1 of 7)"
    ]


async def test_a_statement_timeout_halves_the_page(pages: PageServer, source_database: str, database_url: str) -> None:
    add_clients(source_database, 100)
    pages.hook = faults.above_limit(30, faults.statement_timeout())
    assert (await copy_from(pages, database_url, tables("clients"))).complete
    asked = [
        int(seen.request.parameter("limit") or 0)
        for seen in pages.exchanges
        if seen.request.parameter("order") is not None and "_1:" in (seen.request.parameter("select") or "")
    ]
    assert asked[:5] == [200, 100, 50, 25, 25]
    assert max(asked[3:]) == 25


async def test_a_lasting_failure_stops_and_the_next_copy_goes_on(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 50)
    execute(source_database, "INSERT INTO staff (yclients_id, name) VALUES (1, 'a')")
    pages.max_rows = 10
    pages.hook = lambda request: faults.status(503) if request.parameter("id") == "gt.30" else None
    limits = Limits(wait_initial=0.01, wait_max=0.02, attempts=3)
    with pytest.raises(MigrationError, match=r"cannot answer now \[HTTP 503\]") as stopped:
        await copy_from(pages, database_url, tables("clients", "staff"), limits=limits)
    assert (stopped.value.step, stopped.value.table) == ("copy", "clients")
    assert stopped.value.pending == "the rest of clients, staff"
    assert str(stopped.value.next_step) == "correct SUPABASE_URL, or wait until it answers, then: botdata copy"
    assert query(database_url, "SELECT last_key, pages, inserted, state FROM botdata.checkpoints") == [
        (["30"], 3, 30, "copying")
    ]
    pages.hook = lambda request: None
    told = Told()
    report = await copy_from(pages, database_url, tables("clients", "staff"), told=told)
    assert (report.resumed, report.complete, told.began[0]) == (True, True, ("clients", 50, 30))
    asked = [page.request.parameter("id") for page in whole_rows(pages, "clients")]
    assert asked == [None, "gt.10", "gt.20", "gt.30", "gt.40", "gt.50"]
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


async def test_a_target_that_ends_the_connection(pages: PageServer, source_database: str, database_url: str) -> None:
    add_clients(source_database, 50)
    pages.max_rows = 10
    ended: list[int] = []

    def hook(request: Request) -> None:
        if request.parameter("id") == "gt.30" and not ended:
            ended.append(request.number)
            execute(
                database_url,
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
                "WHERE application_name = 'botdata copy' AND datname = current_database()",
            )

    pages.hook = hook
    with pytest.raises(MigrationError, match="target") as stopped:
        await copy_from(pages, database_url, tables("clients"))
    assert stopped.value.table == "clients"
    assert str(stopped.value.next_step).endswith("botdata copy")  # the server's last word may not have come
    report = await copy_from(pages, database_url, tables("clients"))
    assert (report.resumed, report.complete) == (True, True)
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


async def test_a_page_and_its_checkpoint_are_in_together_or_not_at_all(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 50)
    pages.max_rows = 10
    await copy_from(pages, database_url, tables("staff"))  # makes the tool's own tables
    execute(
        database_url,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END'; "
        "CREATE TRIGGER fail BEFORE UPDATE ON botdata.checkpoints FOR EACH ROW WHEN (new.pages = 3) "
        "EXECUTE FUNCTION fail()",
    )
    with pytest.raises(MigrationError):
        await copy_from(pages, database_url, tables("clients"))
    assert value(database_url, "SELECT max(id) FROM clients") == 20
    assert value(database_url, "SELECT last_key FROM botdata.checkpoints WHERE table_name = 'clients'") == ["20"]
    execute(database_url, "DROP FUNCTION fail CASCADE")
    assert (await copy_from(pages, database_url, tables("clients"))).complete
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


async def test_a_source_that_goes_in_circles_is_noticed(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 9)
    bodies: list[Answer] = []

    def hook(request: Request) -> Fault | None:
        def again(answer: Answer) -> Answer:
            bodies.append(replace(answer, headers=faults.JSON))  # nothing says what was asked
            return bodies[len(bodies) % 3] if len(bodies) > 3 else answer

        return again if request.parameter("order") else None

    pages.max_rows = 2
    pages.hook = hook
    with pytest.raises(MigrationError, match="the same rows again"):
        await asyncio.wait_for(copy_from(pages, database_url, tables("clients")), 60)


async def test_a_heavy_stretch_is_asked_for_in_halves_and_then_pages_grow_again(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 600)
    execute(source_database, "UPDATE clients SET notes = repeat('ж', 10000) WHERE id BETWEEN 201 AND 220")
    limits = Limits(page_rows=200, page_bytes=100_000, wait_initial=0.01)
    assert (await copy_from(pages, database_url, tables("clients"), limits=limits)).complete
    given = [seen for seen in pages.pages("clients") if seen.request.parameter("order")]
    limit_of = [int(seen.request.parameter("limit") or 0) for seen in given]
    assert min(limit_of) <= 10
    assert max(limit_of[-3:]) > 20  # behind the heavy rows
    assert value(database_url, "SELECT count(*) FROM clients WHERE length(notes) = 10000") == 20


async def test_three_pages_are_in_memory_at_most(
    pages: PageServer, source_database: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_clients(source_database, 200)
    pages.max_rows = 5
    fetched, loaded, most = 0, 0, 0
    fetch, load = RestSource._page, PageLoader.load

    async def counted_fetch(self: RestSource, *arguments: object) -> Page | None:
        nonlocal fetched, most
        page = await fetch(self, *arguments)  # type: ignore[arg-type]
        fetched += page is not None and b'"_1"' in page.body  # not the pages of keys alone
        most = max(most, fetched - loaded)
        return page

    async def slow_load(self: PageLoader, page: Page, *, checkpoint: bool = True) -> object:
        nonlocal loaded
        await asyncio.sleep(0.01)
        done = await load(self, page, checkpoint=checkpoint)
        loaded += 1
        return done

    monkeypatch.setattr(RestSource, "_page", counted_fetch)
    monkeypatch.setattr(copy_module.PageLoader, "load", slow_load)
    await copy_from(pages, database_url, tables("clients"))
    assert (fetched, loaded) == (40, 40)
    assert 2 <= most <= 3  # fetching and loading overlap, and no more than that


_FAILS_TWICE = """
CREATE SEQUENCE tries;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('tries') < 3 THEN RAISE EXCEPTION 'not now' USING ERRCODE = '{sqlstate}'; END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER fail BEFORE INSERT ON clients FOR EACH STATEMENT EXECUTE FUNCTION fail();
ALTER TABLE clients ENABLE ALWAYS TRIGGER fail;
"""


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03"])
async def test_a_transaction_that_can_succeed_later_is_repeated(
    source: Served, database_url: str, sqlstate: str
) -> None:
    add_clients(source.database_url, 5)
    execute(database_url, _FAILS_TWICE.format(sqlstate=sqlstate))
    report = await copy_from(source, database_url, tables("clients"))
    assert report.complete
    assert value(database_url, "SELECT last_value FROM tries") == 3
    assert row_texts(database_url, "clients") == row_texts(source.database_url, "clients")


async def test_one_that_never_succeeds_is_tried_five_times(source: Served, database_url: str) -> None:
    add_clients(source.database_url, 5)
    execute(database_url, _FAILS_TWICE.replace("< 3", "< 100").format(sqlstate="40P01"))
    with pytest.raises(MigrationError, match="a deadlock was resolved against this call") as stopped:
        await asyncio.wait_for(copy_from(source, database_url, tables("clients")), 60)
    assert stopped.value.table == "clients"
    assert value(database_url, "SELECT last_value FROM tries") == 5
