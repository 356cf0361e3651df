"""How far a sync has come is in the target while it is at work, and nothing of it afterwards."""

import asyncio

import pytest

from app.migration.runs import kept_work as module
from app.migration.runs.kept_work import kept_progress
from app.state.sync_progress import read_progress
from tests.migration.engine import Told, execute, value


async def test_it_is_kept_while_the_sync_is_at_work(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVERY", 0.01)
    told = Told()
    async with kept_progress(told, database_url) as progress:
        progress.begin("clients", 100, 0)
        progress.advance("clients", 30)
        progress.begin("bookings", 5, 0)
        progress.advance("clients", 40)
        progress.notice("a word")
        while value(database_url, "SELECT count(*) FROM botdata.sync_progress") < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        async with module.open_target(database_url, step="test") as connection:
            found = await read_progress(connection)
            assert [(one.table, one.rows, one.left) for one in sorted(found, key=lambda one: one.table)] == [
                ("bookings", 0, 5), ("clients", 70, 30),
            ]  # fmt: skip
            # One that was killed leaves its rows, and they are old soon.
            await connection.execute("UPDATE botdata.sync_progress SET said_at = said_at - interval '20 s'")
            assert await read_progress(connection) == ()
    assert value(database_url, "SELECT count(*) FROM botdata.sync_progress") == 0
    assert (told.began, told.rows, told.notices) == ([("clients", 100, 0), ("bookings", 5, 0)], [30, 40], ["a word"])


async def test_it_is_the_working_syncs_alone(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVERY", 0.01)
    old = "INSERT INTO botdata.sync_progress (table_name, rows, total, seconds) VALUES ('staff', 1, 2, 3)"
    names = "SELECT array_agg(table_name) FROM botdata.sync_progress"
    execute(database_url, old)
    async with kept_progress(Told(), database_url):  # it waits for the lock of the one that is at work
        await asyncio.sleep(0.1)
    assert value(database_url, names) == ["staff"]
    async with kept_progress(Told(), database_url) as progress:  # the other was killed
        progress.begin("clients", 100, 0)
        while value(database_url, names) != ["clients"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_target_that_does_not_take_it_stops_no_sync(database_url: str) -> None:
    for url in (database_url.replace("/botdata_test_", "/no_such_"), "postgresql://x@127.0.0.1:9/x"):
        async with kept_progress(Told(), url) as progress:
            progress.begin("clients", 1, 0)
            await asyncio.sleep(0.05)
