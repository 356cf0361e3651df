"""A pause that the target keeps: a run asks nothing, holds nothing, and goes on where it was."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from app.migration.copy.copier import CopyOptions, copy
from app.migration.copy.range_copier import RangeOptions
from app.migration.retry import Limits
from app.migration.runs import kept_work as module
from app.migration.runs.kept_work import kept_pace
from app.migration.runs.pausing import pause, resume
from app.migration.runs.status import read_status
from app.migration.sources.pace import MaxRate, Pace
from app.migration.sync.options import SyncOptions
from app.migration.sync.syncer import Sync
from tests.migration.engine import Told, add_clients, execute, row_texts, tables, value
from tests.migration.paced import counted, paced
from tests.support.page_server import PageServer
from tests.support.relay import Relay, postgres_address

_OPEN = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
_LOCKS = (
    "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation AND l.database = (SELECT oid FROM "
    "pg_database WHERE datname = current_database()) WHERE relname IN ('clients', 'staff') AND pid <> pg_backend_pid()"
)


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVERY", 0.05)


async def _until(reached: Callable[[], bool]) -> None:
    for _ in range(600):
        if reached():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it was not reached")


@asynccontextmanager
async def _beside(work: Awaitable[object]) -> AsyncIterator[asyncio.Future[object]]:
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("kind", ["page server", "connection"])
async def test_a_paused_copy_holds_nothing_and_goes_on(
    kind: str, pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 300)
    told, pace = Told(), Pace(MaxRate(rows=300))
    options = CopyOptions(ranges=RangeOptions(jobs=2, range_rows=20))
    server = pages if kind == "page server" else source_database

    async def run() -> object:
        async with (
            kept_pace(pace, database_url, "copy", told.notice),
            paced(server, pace, Limits(page_rows=20)) as source,
        ):
            return await copy(source, database_url, tables("clients", "staff"), told, options)

    with counted(pages) as given:
        async with _beside(run()) as working:
            await _until(lambda: sum(told.rows) >= 40)
            asked = await pause(database_url, "busy", 20, told.notice)
            assert (asked.has_taken_hold, asked.is_new, [one.command for one in asked.paces]) == (True, True, ["copy"])
            done, requests = sum(told.rows), len(given.seen)
            assert 40 <= done < 300
            for url in (database_url, source_database):
                assert value(url, _OPEN) == 1  # the question itself
                assert value(url, _LOCKS) == 0
            status = await read_status(database_url)
            assert status.holder is not None
            assert status.pause is not None
            assert status.pause.reason == "busy"
            assert [(one.max_rate, one.is_held) for one in status.paces] == [("300 rows/s", True)]
            assert str(status.next_step).startswith("botdata resume")
            await asyncio.sleep(0.5)
            assert (sum(told.rows), len(given.seen)) == (done, requests)
            ended, _ = await resume(database_url)
            assert ended == status.pause
            report = await asyncio.wait_for(working, 60)
    assert report.complete  # type: ignore[attr-defined]
    assert report.sync_due == (kind == "connection")  # type: ignore[attr-defined]
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")
    assert any(
        line.startswith("paused by ") and line.endswith(": busy; to go on: botdata resume") for line in told.notices
    )
    assert any(line.startswith("resumed after ") for line in told.notices)
    assert value(database_url, "SELECT count(*) FROM botdata.paces") == 0


@pytest.mark.parametrize("kind", ["page server", "connection"])
async def test_a_following_sync_is_paused_between_its_rounds_and_ends_at_once(
    kind: str, pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 30)
    told, pace, stop = Told(), Pace(), asyncio.Event()
    server = pages if kind == "page server" else source_database
    sync = Sync(
        lambda: paced(server, pace),
        database_url,
        tables("clients"),
        told,
        SyncOptions(follow=True, interval=0.05),
        stop=stop,
    )

    async def run() -> object:
        async with kept_pace(pace, database_url, "sync", told.notice):
            return await sync.run()

    async with _beside(run()) as working:
        await _until(lambda: sync.report.rounds > 1)
        for reason in ("once", "twice"):
            assert (await pause(database_url, reason, 20, told.notice)).has_taken_hold
            rounds = sync.report.rounds
            execute(source_database, "UPDATE clients SET notes = %s", [reason])
            await asyncio.sleep(0.3)
            assert sync.report.rounds == rounds
            assert value(database_url, "SELECT count(*) FROM clients WHERE notes = %s", [reason]) == 0
            assert value(database_url, _OPEN) == 1
            if reason == "once":
                await resume(database_url)
                await _until(lambda before=rounds: sync.report.rounds > before + 1)  # type: ignore[misc]
                assert row_texts(database_url, "clients") == row_texts(source_database, "clients")
        began = asyncio.get_running_loop().time()
        stop.set()
        assert (await asyncio.wait_for(working, 20)).interrupted  # type: ignore[attr-defined]
        assert asyncio.get_running_loop().time() - began < 3
    await resume(database_url)


async def test_a_pause_while_nothing_runs_holds_what_is_started(pages: PageServer, database_url: str) -> None:
    asked = await pause(database_url, None, 20, print)
    assert (asked.has_taken_hold, asked.paces) == (True, ())
    again = await pause(database_url, "another", 20, print)
    assert (again.is_new, again.pause) == (False, asked.pause)
    with counted(pages) as given:
        told, pace = Told(), Pace()

        async def run() -> object:
            async with kept_pace(pace, database_url, "copy", told.notice), paced(pages, pace) as source:
                return await copy(source, database_url, tables("clients"), told)

        async with _beside(run()) as working:
            await _until(lambda: pace.is_held)
            await asyncio.sleep(0.2)
            assert not working.done()
            assert not given.seen
            assert (await resume(database_url))[0] == asked.pause
            assert (await asyncio.wait_for(working, 20)).complete  # type: ignore[attr-defined]
    assert (await resume(database_url))[0] is None


async def test_a_target_that_is_away_stops_nothing(pages: PageServer) -> None:
    pace = Pace()
    async with kept_pace(pace, "postgresql://x@127.0.0.1:9/x", "copy", print):
        await asyncio.wait_for(pace.ready(), 5)


async def test_a_target_that_goes_at_the_end_keeps_no_command(database_url: str) -> None:
    with Relay(postgres_address(database_url)) as relay:
        async with kept_pace(Pace(), relay.way(database_url), "copy", Told().notice):
            relay.cut()  # what its end asks of the target fails now
            began = time.monotonic()
    assert time.monotonic() - began < 15  # it would never end


async def test_what_others_wait_for_does_not_wait() -> None:
    pace = Pace(MaxRate(rows=1))
    async with pace.request():
        pace.count(rows=1000)
    pace.pause()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pace.ready(in_snapshot=True), 0.1)  # for the rate
    with pace.at_once():
        await asyncio.wait_for(pace.ready(), 1)
    pace = Pace()
    pace.pause()
    await asyncio.wait_for(pace.ready(in_snapshot=True), 1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pace.ready(), 0.1)
