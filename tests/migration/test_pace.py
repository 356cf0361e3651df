"""`--max-rate`, a pause and backing off, measured from the source's side."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.migration.copy.copier import CopyOptions, copy
from app.migration.copy.range_copier import RangeOptions
from app.migration.retry import Limits
from app.migration.sources.pace import MaxRate, Pace
from app.migration.sync.options import SyncOptions
from app.migration.sync.syncer import Sync
from app.migration.verify.options import VerifyOptions
from app.migration.verify.verifier import verify
from tests.migration.engine import Told, add_clients, execute, row_texts, tables
from tests.migration.paced import Given, counted, counted_connections, paced
from tests.support.faults import Answer, Request
from tests.support.page_server import PageServer
from tests.support.relay import Relay, postgres_address

_TABLES = ("clients", "whatsapp_keys")
_WIDE = 2000  # bytes of a row, about
_CHOSEN = tables(*_TABLES)


def _fill(url: str, rows: int) -> None:
    """As many rows in two tables, each of about _WIDE bytes that do not compress."""
    text = "(SELECT string_agg(md5(n::text || i), '') FROM generate_series(1, 60) i)"
    execute(
        url,
        "INSERT INTO clients (id, yclients_id, company_id, phone, notes) SELECT n, n, 1, (79000000000 + n)::text, "
        f"{text} FROM generate_series(1, {rows}) n",
    )
    execute(
        url,
        "INSERT INTO whatsapp_keys (company_id, key_type, key_id, value) "
        f"SELECT 'c', 't', n::text, to_json({text})::text::jsonb FROM generate_series(1, {rows}) n",
    )


@contextmanager
def _source(kind: str, pages: PageServer, url: str) -> Iterator[tuple[PageServer | str, Given]]:
    if kind == "page server":
        with counted(pages) as given:
            yield pages, given
    else:
        with counted_connections(url) as (way, given):
            yield way, given


async def _kept_to(
    kind: str, rate: MaxRate, pages: PageServer, source_database: str, target: str, *, verifies: bool = False
) -> Given:
    """Copy both tables at a rate (or verify them), hold what the source gave against it, and give that."""
    options = CopyOptions(ranges=RangeOptions(jobs=3))
    with _source(kind, pages, source_database) as (server, given):
        async with paced(server, Pace(rate), Limits()) as source:
            if verifies:
                assert (await verify(source, target, _CHOSEN, Told(), VerifyOptions())).clean
            else:
                assert (await copy(source, target, _CHOSEN, Told(), options)).complete
    for table in _TABLES:
        assert row_texts(target, table) == row_texts(source_database, table)
    over_rest = kind == "page server"
    # Over a connection the rows are known by their bytes, with some for the questions about the catalog.
    most = rate.rows if over_rest and rate.rows else rate.size or _WIDE * 1.15 * (rate.rows or 0)
    allowance = 1.0 if over_rest else 1.5
    assert given.most(rows=over_rest and rate.rows is not None, beyond=allowance) <= most * 1.02
    return given


@pytest.mark.parametrize("kind", ["page server", "connection"])
@pytest.mark.parametrize("rate", [MaxRate(rows=400), MaxRate(size=1_000_000)], ids=str)
async def test_a_copy_keeps_to_the_rate(
    kind: str, rate: MaxRate, pages: PageServer, source_database: str, database_url: str
) -> None:
    _fill(source_database, 450)
    given = await _kept_to(kind, rate, pages, source_database, database_url)
    at_best = (
        given.rows / rate.rows if rate.rows and given.rows else given.size / (rate.size or _WIDE * (rate.rows or 1))
    )
    assert at_best - 1.5 < given.seconds < 2 * at_best + 2  # machines at work are slow; the soak holds it within 10 %


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["page server", "connection"])
@pytest.mark.parametrize("rate", [MaxRate(rows=300), MaxRate(size=600_000)], ids=str)
async def test_a_long_copy_keeps_to_the_rate_within_a_tenth(
    kind: str, rate: MaxRate, pages: PageServer, source_database: str, database_url: str
) -> None:
    _fill(source_database, 1500)
    for verifies in (False, True):
        given = await _kept_to(kind, rate, pages, source_database, database_url, verifies=verifies)
        amount = given.size if rate.size else 2 * 1500
        assert 0.9 < amount / given.seconds / (rate.size or rate.rows or 1) < 1.1


def _told_of_both(told: Told) -> None:
    assert any("times as long as at first; it is asked less often" in said for said in told.notices)
    assert told.notices[-1] == "clients: the source is asked as often as at first again"


async def test_a_source_that_slows_down_is_asked_less_often(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    _fill(source_database, 300)
    asked: list[tuple[float, float]] = []  # when each page of the one table was asked for, and given

    def delayed(answer: Answer) -> Answer:
        began = time.monotonic()
        time.sleep(0.15 if 8 <= len(asked) < 14 else 0.01)
        asked.append((began, time.monotonic()))
        return answer

    def hook(request: Request) -> object:
        whole = request.table == "clients" and "notes" in (request.parameter("select") or "")
        return delayed if whole and not (request.parameter("id") or "").startswith("in.") else None

    pages.hook = hook  # type: ignore[assignment]
    told, pace = Told(), Pace()
    pace.tell = told.notice
    async with paced(pages, pace, Limits(page_rows=10)) as source:
        assert (await copy(source, database_url, tables("clients"), told)).complete
    _told_of_both(told)
    gaps = [began - given for (_, given), (began, _) in itertools.pairwise(asked)]
    assert min(gaps[11:13]) > 0.1  # about as long as the answers took too long, and not for ever
    assert max(gaps) < 5
    assert pace.slowdown == 1
    assert sorted(gaps[17:])[len(gaps[17:]) // 2] < 0.1
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


async def test_so_is_one_over_a_connection(source_database: str, database_url: str) -> None:
    _fill(source_database, 300)
    told, pace, asked_less = Told(), Pace(), False
    pace.tell = told.notice
    options = CopyOptions(ranges=RangeOptions(jobs=1, range_rows=10))
    with Relay(postgres_address(source_database)) as relay:

        async def trouble() -> None:
            nonlocal asked_less
            while sum(told.rows) < 80:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            relay.slow(0.15)
            while sum(told.rows) < 140:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            asked_less = pace.slowdown > 3
            relay.heal()

        async with paced(relay.way(source_database), pace, Limits()) as source, asyncio.TaskGroup() as both:
            both.create_task(trouble())
            both.create_task(copy(source, database_url, tables("clients"), told, options))
    assert asked_less
    assert pace.slowdown == 1
    _told_of_both(told)
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


@pytest.mark.parametrize("kind", ["page server", "connection"])
async def test_what_is_read_at_a_rate_is_compared_and_brought(
    kind: str, pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 700)
    server = pages if kind == "page server" else source_database
    pace, told, chosen = Pace(MaxRate(size=50_000_000)), Told(), tables("clients")
    async with paced(server, pace) as source:
        assert (await copy(source, database_url, chosen, told)).complete
    synced = await Sync(lambda: paced(server, pace), database_url, chosen, told, SyncOptions()).run()
    assert (synced.complete, synced.tables["clients"].changed) == (True, 0)
    execute(database_url, "UPDATE clients SET notes = 'other' WHERE id = 3; DELETE FROM clients WHERE id = 5")
    async with paced(server, pace) as source:
        (found,) = (await verify(source, database_url, chosen, told, VerifyOptions(pause=0.01))).tables
    assert (found.source_rows, found.equal, found.different, found.missing) == (700, 698, 1, 1)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("2000", MaxRate(rows=2000)), ("5MB", MaxRate(size=5_000_000)), (" 0.5mb ", MaxRate(size=500_000))],
)
def test_how_a_rate_is_written(text: str, rate: MaxRate) -> None:
    assert MaxRate.parse(text) == rate
