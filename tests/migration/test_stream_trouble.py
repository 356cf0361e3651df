"""A copy over database connections that is killed, cut off, hurried or given the wrong address."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from time import monotonic, sleep

import psycopg
import pytest
from psycopg.abc import Buffer
from sqlalchemy.engine import make_url

from app.errors import MigrationError
from app.migration.copy.copier import CopyOptions
from app.migration.copy.range_copier import RangeOptions
from app.migration.copy.range_loader import KeyRange, RangeLoader, TableJob
from app.migration.runs.report import Loaded
from app.migration.sources.postgres.streams import SourceStream
from app.migration.target.target_session import open_target
from tests.fixtures.sources import Routed, Source
from tests.migration.engine import (
    QUICK,
    Told,
    add_clients,
    copy_from,
    described,
    execute,
    row_texts,
    source_of,
    tables,
    value,
)
from tests.support.relay import Relay, postgres_address

_SMALL = CopyOptions(ranges=RangeOptions(jobs=2, range_rows=10))
_PROGRAM = """
import asyncio, sys
from tests.fixtures.sources import Source
from tests.migration.engine import copy_from, tables
from tests.migration.test_stream_trouble import _SMALL
source, target = sys.argv[1:]
asyncio.run(copy_from(Source(source, "", source, False), target, tables("clients"), options=_SMALL))
"""


def _start(source: str, target: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _PROGRAM, source, target])


def _wait_for(url: str, statement: str) -> None:
    until = monotonic() + 60
    while not value(url, statement):
        assert monotonic() < until, statement
        sleep(0.05)


async def test_a_killed_copy_reads_no_complete_range_again(
    connected: Source, database_url: str, routes: list[Routed]
) -> None:
    add_clients(connected.url, 100)
    execute(
        database_url,
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN new; END'; "
        "CREATE TRIGGER wait BEFORE INSERT ON clients FOR EACH ROW WHEN (new.id = 57) EXECUTE FUNCTION wait(); "
        "ALTER TABLE clients ENABLE ALWAYS TRIGGER wait",
    )
    program = _start(connected.url, database_url)
    try:
        _wait_for(
            database_url,
            "SELECT to_regclass('botdata.ranges') IS NOT NULL AND EXISTS "
            "(SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database())",
        )
        _wait_for(database_url, "SELECT count(*) = 9 FROM botdata.ranges WHERE complete")
    finally:
        os.kill(program.pid, signal.SIGKILL)
        program.wait()
    execute(
        database_url,
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    execute(database_url, "DROP FUNCTION wait CASCADE")
    execute(connected.url, "UPDATE clients SET notes = 'changed' WHERE id = 3; DELETE FROM clients WHERE id = 4")
    add_clients(connected.url, 1, first=200)
    told = Told()
    report = await copy_from(connected, database_url, tables("clients"), options=_SMALL, told=told)
    assert routes == [("clients", 6, True, True)]
    assert (report.resumed, report.complete, report.sync_due) == (True, False, True)
    assert (report.tables[0].came, report.tables[0].went) == (1, 1)
    assert value(database_url, "SELECT count(*) FROM botdata.snapshots") == 2
    again = await copy_from(connected, database_url, tables("clients"), options=_SMALL)
    assert (again.complete, again.sync_due, again.tables[0].updated) == (
        False,
        False,
        1,
    )  # a sync deletes it


_SESSIONS = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
    "WHERE application_name = 'botdata test' AND datname = current_database()"
)


@pytest.mark.parametrize("whom", ["a worker", "all"])
async def test_a_source_that_ends_sessions(
    connected: Source, database_url: str, monkeypatch: pytest.MonkeyPatch, whom: str
) -> None:
    """A worker's session is made anew in the same snapshot; with the one that holds the snapshot, the start ends."""
    add_clients(connected.url, 60)
    original, ended = RangeLoader.load, []

    async def load(self: RangeLoader, job: TableJob, key_range: KeyRange) -> Loaded:
        if key_range.number == 4 and not ended:
            ended.append(key_range)
            execute(
                connected.url,
                "INSERT INTO clients (id, yclients_id, phone) VALUES (45, 4500, '7') "
                "ON CONFLICT (id) DO UPDATE SET notes = 'later'",
            )
            session = await self._reader.connection()
            one = f"pid = {session.info.backend_pid}" if whom == "a worker" else "datname = current_database()"
            execute(connected.url, f"{_SESSIONS} AND {one}")
        return await original(self, job, key_range)

    monkeypatch.setattr(RangeLoader, "load", load)
    told = Told()
    if whom == "all":
        with pytest.raises(MigrationError, match=r"the source \(--source\)") as stopped:
            await copy_from(connected, database_url, tables("clients"), options=_SMALL, told=told)
        assert (stopped.value.table, str(stopped.value.next_step)) == ("clients", "botdata copy")
        assert stopped.value.pending == "the rest of clients"
        assert stopped.value.done == f"{value(database_url, 'SELECT count(*) FROM clients')} rows of clients"
        assert value(database_url, "SELECT count(*) < 60 FROM clients")
    report = await copy_from(connected, database_url, tables("clients"), options=_SMALL, told=told)
    assert (report.complete, report.resumed, report.sync_due) == (True, whom == "all", whom == "all")
    assert [notice for notice in told.notices if "trying again (1 of 7)" in notice]
    if whom == "a worker":
        assert value(database_url, "SELECT notes FROM clients WHERE id = 45") is None
    assert value(database_url, "SELECT count(*) FROM clients") == 60


async def test_a_source_that_ends_a_session_in_the_middle_of_its_rows(
    connected: Source, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had arrived of the range is rolled back, and it is read again."""
    add_clients(connected.url, 2000)
    execute(
        connected.url,
        "UPDATE clients SET notes = (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 99) n)",
    )
    original, pieces = SourceStream.pieces, []

    async def cut(self: SourceStream) -> AsyncGenerator[Buffer, None]:
        async for piece in original(self):
            yield piece
            pieces.append(len(piece))
            if len(pieces) == 3:
                execute(connected.url, f"{_SESSIONS} AND state = 'active' AND query LIKE 'COPY%'")

    monkeypatch.setattr(SourceStream, "pieces", cut)
    told = Told()
    report = await copy_from(connected, database_url, tables("clients"), told=told)
    assert (report.complete, report.tables[0].inserted, len(told.notices)) == (True, 2000, 1)
    assert sum(pieces) > 1.02 * 2000 * 99 * 32
    assert row_texts(database_url, "clients") == row_texts(connected.url, "clients")


async def test_reads_connect_again(connected: Source, database_url: str) -> None:
    add_clients(connected.url, 60)
    told = Told()
    async with source_of(connected, replace(QUICK, page_rows=20), told=told) as source:
        table, rows = await described(database_url, tables("clients")[0]), 0
        async for page in source.pages(table):
            rows += page.rows
            execute(connected.url, _SESSIONS)
    assert rows == 60
    assert [notice.partition("; ")[2] for notice in told.notices] == ["trying again (1 of 7)"] * len(told.notices)
    assert len(told.notices) >= 3


@pytest.mark.separate_server
async def test_a_refusal_is_not_tried_again(connected: Source, database_url: str) -> None:
    name = value(connected.url, "SELECT current_database()")
    execute(connected.url, f"CREATE ROLE \"blind_{name}\" LOGIN PASSWORD 'blind'")
    try:
        url = make_url(connected.url).set(username=f"blind_{name}", password="blind")
        told = Told()
        blind = replace(connected, url=url.render_as_string(hide_password=False))
        with pytest.raises(MigrationError, match="no right to do this") as stopped:
            await copy_from(blind, database_url, tables("clients"), told=told)
        assert "--source" in str(stopped.value.next_step)
        assert told.notices == []
    finally:
        execute(connected.url, f'DROP ROLE "blind_{name}"')


async def test_the_source_is_read_only(connected: Source) -> None:
    async with source_of(connected) as source:
        session = await source.connect()  # type: ignore[attr-defined]
        async with session:
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                await session.execute("DELETE FROM clients")


async def test_timeouts_of_role_and_database_do_no_harm(
    connected: Source, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_clients(connected.url, 40)
    version = int(value(database_url, "SHOW server_version_num"))
    names = ["statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"]
    for url in (connected.url, database_url):
        for setting in [*names, "transaction_timeout"] if version >= 170000 else names:
            execute(url, f"ALTER DATABASE \"{value(url, 'SELECT current_database()')}\" SET {setting} = '500ms'")
    assert value(connected.url, "SHOW statement_timeout") == "500ms"
    original = RangeLoader._pipe

    async def slowly(
        self: RangeLoader, job: TableJob, key_range: KeyRange, into: psycopg.sql.Identifier, same: frozenset[str]
    ) -> int:
        if key_range.number == 2:
            for session in (await self._reader.connection(), self._target):
                await session.execute("SELECT pg_sleep(0.6)")
        return await original(self, job, key_range, into, same)

    monkeypatch.setattr(RangeLoader, "_pipe", slowly)
    report = await copy_from(connected, database_url, tables("clients"), options=_SMALL)
    assert report.complete
    assert row_texts(database_url, "clients") == row_texts(connected.url, "clients")


async def test_no_prepared_statements_and_keepalives(database_url: str) -> None:
    async with open_target(database_url, step="test") as connection:
        assert connection.prepare_threshold is None
        given = {option.keyword: option.val for option in connection.pgconn.info}
        assert (given[b"keepalives"], given[b"keepalives_idle"]) == (b"1", b"60")
        assert given[b"tcp_user_timeout"] == b"120000"
        # A Unix socket, which the server may be reached by, shows 0; that it was set is known all the same.
        cursor = await connection.execute("SELECT DISTINCT source FROM pg_settings WHERE name ~ '^tcp_keepalives'")
        assert await cursor.fetchall() == [("session",)]


async def test_one_who_waits_to_have_a_table_alone_is_let_through(
    connected: Source, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As whoever alters a table does; the copy's snapshot is in their way, and they are in the way of its workers."""
    add_clients(connected.url, 60)
    original = RangeLoader.load
    with psycopg.connect(connected.url) as other, ThreadPoolExecutor(1) as beside:
        alone: list[Future[object]] = []

        async def load(self: RangeLoader, job: TableJob, key_range: KeyRange) -> Loaded:
            if not alone:
                alone.append(beside.submit(other.execute, "LOCK TABLE clients IN ACCESS EXCLUSIVE MODE"))
                await asyncio.to_thread(
                    _wait_for,
                    connected.url,
                    "SELECT count(*) > 0 FROM pg_stat_activity "
                    "WHERE wait_event_type = 'Lock' AND datname = current_database()",
                )
            return await original(self, job, key_range)

        with monkeypatch.context() as patch:
            patch.setattr(RangeLoader, "load", load)
            with pytest.raises(MigrationError, match="waits to have clients alone") as stopped:
                await copy_from(connected, database_url, tables("clients"), options=_SMALL)
        assert str(stopped.value.next_step) == "botdata copy"
        alone[0].result(timeout=60)
        other.rollback()
    report = await copy_from(connected, database_url, tables("clients"), options=_SMALL)
    assert (report.resumed, report.complete) == (True, True)
    assert row_texts(database_url, "clients") == row_texts(connected.url, "clients")


async def test_a_copy_that_is_cancelled_too_late_to_tell_the_server(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """psycopg goes on without having read the rows: the connection takes no further statement, and says so in a log."""
    with Relay(postgres_address(database_url)) as relay:
        async with open_target(relay.way(database_url), step="test") as connection:
            relay.slow(0.2)
            copying = asyncio.create_task(_copy_one_row(connection))
            async with asyncio.timeout(60):
                while not relay.held:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            # The statement is on its way, and what would cancel it will come behind it.
            copying.cancel()
            with pytest.raises(asyncio.CancelledError):
                await copying
            relay.heal()
            assert connection.closed
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def _copy_one_row(connection: psycopg.AsyncConnection) -> None:
    async with connection.cursor().copy("COPY (SELECT 1) TO STDOUT"):
        raise AssertionError("it was not cancelled in time")
