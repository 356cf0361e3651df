"""Sync round after round, beside a writer: it converges, and stops when it is told to."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import psycopg
import pytest
from sqlalchemy import Table

from app.errors import MigrationError
from app.migration.sync.options import SyncOptions
from app.migration.sync.sync_report import SyncReport
from app.migration.sync.syncer import Sync
from tests.fixtures.sources import Source
from tests.migration.engine import (
    Served,
    Told,
    add_clients,
    copy_from,
    execute,
    row_texts,
    source_of,
    tables,
    value,
    verify_from,
)
from tests.migration.test_sync import sync_from
from tests.support import faults
from tests.support.page_server import PageServer

_NAMES = ("clients", "whatsapp_keys")


class Following:
    """A following sync, in a task of its own."""

    def __init__(
        self,
        server: Served,
        target: str,
        *,
        told: Told | None = None,
        reverse: bool = False,
        chosen: Sequence[Table] = tables(*_NAMES),
    ) -> None:
        self.stop = asyncio.Event()
        self.told = told or Told()
        options = SyncOptions(follow=True, interval=0.05, reverse=reverse, target_in_use=reverse, most_deleted=10_000)
        self.sync = Sync(lambda: source_of(server, told=self.told), target, chosen, self.told, options, stop=self.stop)
        self.task = asyncio.ensure_future(self.sync.run())

    async def rounds(self, number: int) -> None:
        """Wait until so many more rounds have ended."""
        wanted = self.sync.report.rounds + number
        for _ in range(1200):
            if self.sync.report.rounds >= wanted or self.task.done():
                break
            await asyncio.sleep(0.05)
        assert self.sync.report.rounds >= wanted, self.task

    async def end(self) -> SyncReport:
        """Stop it, and wait for its report."""
        self.stop.set()
        return await asyncio.wait_for(self.task, 60)


async def _write(url: str, seed: int, done: asyncio.Event) -> int:
    """Insert, update with and without touching updated_at, re-create under a new id, swap keys, delete; until done."""
    chance = random.Random(seed)
    written = 0
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while not done.is_set():
            a, b = chance.randint(1, 60), chance.randint(1, 60)
            statement = chance.choice(
                [
                    f"UPDATE clients SET notes = 'quietly {written}' WHERE id = {a}",
                    f"UPDATE clients SET notes = '{written}', updated_at = now() WHERE id IN ({a}, {b})",
                    "INSERT INTO clients (yclients_id, company_id, phone) SELECT coalesce(max(yclients_id), 0) + 1, 1, "
                    "'79' FROM clients",
                    f"WITH gone AS (DELETE FROM clients WHERE id = {a} RETURNING yclients_id) "
                    f"INSERT INTO clients (id, yclients_id, company_id, phone) SELECT {1000 + written}, "
                    "-yclients_id, 1, '78' FROM gone",
                    f"DELETE FROM clients WHERE id = (SELECT max(id) FROM clients WHERE id > {a})",
                    f"UPDATE clients SET yclients_id = -1000000 WHERE id = {a}",
                    f"UPDATE whatsapp_keys SET value = '{written}' WHERE key_id = '{a}'",
                    f"DELETE FROM whatsapp_keys WHERE key_id = '{b}'",
                    "INSERT INTO whatsapp_keys (company_id, key_type, key_id, value) VALUES "
                    f"('c', 't', '{b}', '[110]') ON CONFLICT DO NOTHING",
                ]
            )
            with suppress(psycopg.errors.UniqueViolation):
                await connection.execute(statement.encode())
            if written % 7 == 0:
                await _exchange(connection, a, b)
            written += 1
            await asyncio.sleep(0.002)
    return written


async def _exchange(connection: psycopg.AsyncConnection, a: int, b: int) -> None:
    """Two rows swap their natural keys."""
    cursor = await connection.execute("SELECT id, yclients_id FROM clients WHERE id IN (%s, %s) ORDER BY id", [a, b])
    rows = await cursor.fetchall()
    if len(rows) == 2:
        (a, first), (b, second) = rows
        async with connection.transaction():
            await connection.execute("UPDATE clients SET yclients_id = -2000000 WHERE id = %s", [a])
            await connection.execute("UPDATE clients SET yclients_id = %s WHERE id = %s", [first, b])
            await connection.execute("UPDATE clients SET yclients_id = %s WHERE id = %s", [second, a])


def _fill(url: str) -> None:
    add_clients(url, 60)
    execute(
        url,
        "INSERT INTO whatsapp_keys (company_id, key_type, key_id, value) "
        "SELECT 'c', 't', n::text, '{}' FROM generate_series(1, 60) n",
    )


def _same(source: Source, target: str) -> None:
    for name in _NAMES:
        assert row_texts(target, name) == row_texts(source.database_url, name)


async def _beside(writer: Callable[[asyncio.Event], Awaitable[int]], work: Callable[[], Awaitable[None]]) -> int:
    done = asyncio.Event()
    writing = asyncio.ensure_future(writer(done))
    try:
        await work()
    finally:
        done.set()
    return await writing


async def test_converges_beside_a_writer(source: Source, database_url: str) -> None:
    """The writer goes on all through copy and sync."""
    _fill(source.database_url)
    following: Following | None = None

    async def work() -> None:
        nonlocal following
        await copy_from(source, database_url, tables(*_NAMES))
        following = Following(source, database_url)
        await following.rounds(8)

    written = await _beside(lambda done: _write(source.database_url, 1, done), work)
    assert following is not None
    await following.rounds(2)
    report = await following.end()
    assert written > 50
    assert report.tables["clients"].updated > 0
    assert report.tables["clients"].deleted > 0
    final = await sync_from(source, database_url, *_NAMES, until_clean=True, most_deleted=10_000)
    assert final.complete
    assert sum(table.changed for table in final.tables.values()) == 0  # two rounds after the last write had it all
    _same(source, database_url)
    assert (await verify_from(source, database_url, tables(*_NAMES))).clean


async def test_converges_back_beside_a_writer(source: Source, database_url: str) -> None:
    _fill(source.database_url)
    await copy_from(source, database_url, tables(*_NAMES))
    following = Following(source, database_url, reverse=True)
    written = await _beside(lambda done: _write(database_url, 2, done), lambda: following.rounds(6))
    await following.rounds(3)
    report = await following.end()
    assert written > 50
    assert report.tables["clients"].updated > 0
    final = await sync_from(
        source, database_url, *_NAMES, until_clean=True, most_deleted=10_000, reverse=True, target_in_use=True
    )
    assert final.complete
    _same(source, database_url)
    assert (await verify_from(source, database_url, tables(*_NAMES))).clean


async def test_goes_on_when_either_end_was_away(pages: PageServer, source_database: str, database_url: str) -> None:
    _fill(source_database)
    following = Following(pages, database_url)
    await following.rounds(1)
    pages.hook = lambda request: faults.status(503)
    for _ in range(1200):
        if any("trying again in" in notice for notice in following.told.notices):
            break
        await asyncio.sleep(0.05)
    pages.hook = lambda request: None
    await following.rounds(1)
    execute(
        database_url,
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
        "WHERE application_name = 'botdata sync' AND datname = current_database()",
    )
    execute(source_database, "UPDATE clients SET notes = 'meanwhile' WHERE id = 4")
    await following.rounds(2)
    report = await following.end()
    assert report.complete
    assert value(database_url, "SELECT notes FROM clients WHERE id = 4") == "meanwhile"
    assert len([notice for notice in following.told.notices if "trying again in" in notice]) >= 2


async def test_goes_on_when_the_target_was_lost_in_the_first_round(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    _fill(source_database)
    name = value(database_url, "SELECT current_database()")
    following = Following(pages, database_url)
    with psycopg.connect(database_url, dbname="postgres", autocommit=True) as admin:

        def lose_the_target(request: faults.Request) -> None:
            if request.parameter("order") and not following.told.notices:
                admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
                admin.execute(
                    "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = %s", [name]
                )

        pages.hook = lose_the_target
        for _ in range(1200):
            if len(following.told.notices) > 1 or following.task.done():
                break
            await asyncio.sleep(0.05)
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await following.rounds(2)
    assert (await following.end()).complete
    assert all("trying again in" in notice for notice in following.told.notices[:2])
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


async def test_until_clean_gives_up_beside_a_writer(pages: PageServer, source_database: str, database_url: str) -> None:
    _fill(source_database)
    changes = 0

    def change(request: faults.Request) -> None:
        nonlocal changes
        if request.table == "clients" and "_1:" not in (request.parameter("select") or ""):
            changes += 1
            execute(source_database, f"UPDATE clients SET notes = '{changes}' WHERE id = 1")

    pages.hook = change
    with pytest.raises(MigrationError, match="5 rounds went by and there were changes still"):
        await sync_from(pages, database_url, "clients", until_clean=True, most_rounds=5)
    assert changes >= 5


async def test_a_round_that_is_stopped_leaves_nothing_half(
    pages: PageServer, source_database: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.migration.sync.syncer._GRACE", 0.1)
    _fill(source_database)
    await sync_from(pages, database_url, *_NAMES)
    execute(source_database, "UPDATE clients SET notes = 'changed'; DELETE FROM clients WHERE id = 60")
    hanging = faults.delivered(faults.Delivery.NEVER)
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(request: faults.Request) -> faults.Fault | None:
        if (request.parameter("id") or "").startswith("in.") and "_1:" in (request.parameter("select") or ""):
            loop.call_soon_threadsafe(reached.set)
            return hanging
        return None

    pages.hook = hang
    following = Following(pages, database_url)
    await asyncio.wait_for(reached.wait(), 60)
    report = await following.end()
    assert (report.interrupted, report.complete, report.rounds) == (True, False, 0)
    pages.hook = lambda request: None
    report = await sync_from(pages, database_url, *_NAMES)
    assert report.complete
    assert report.tables["clients"].updated == 59
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")
