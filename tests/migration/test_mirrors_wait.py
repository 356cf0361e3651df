"""When a mirror waits for a command that brings rows over: while they are written, and never while they are read."""

import psycopg
import pytest

from app.migration.verify.options import VerifyOptions
from tests.migration.engine import add_clients, execute, row_texts, tables, verify_from
from tests.migration.test_authority import stand_at
from tests.migration.test_sync import sync_from
from tests.support.faults import Fault, Request
from tests.support.page_server import PageServer


def _mirrors_wait(database_url: str) -> bool:
    """Whether a mirror to clients has to wait at this moment."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        (free,) = connection.execute(
            "SELECT pg_try_advisory_xact_lock_shared(hashtextextended('botdata mirror clients', 0))"
        ).fetchone() or (None,)
    return free is False


@pytest.fixture
def waited(pages: PageServer, database_url: str) -> list[bool]:
    """Of each answer with whole clients, whether a mirror to them had to wait at that moment."""
    seen: list[bool] = []

    def hook(request: Request) -> Fault | None:
        if request.method == "GET" and request.table == "clients" and "_2:" in (request.parameter("select") or ""):
            seen.append(_mirrors_wait(database_url))
        return None

    pages.hook = hook
    return seen


async def test_no_mirror_waits_while_a_fix_reads(
    pages: PageServer, source_database: str, database_url: str, waited: list[bool]
) -> None:
    add_clients(source_database, 3)
    await sync_from(pages, database_url, "clients")
    execute(source_database, "UPDATE clients SET notes = 'x'")
    stand_at(database_url, "shadow")
    waited.clear()
    await verify_from(pages, database_url, tables("clients"), options=VerifyOptions(fix=True, pause=0.01))
    assert waited == [False] * 5  # the pages, the second look, the reading, one more look
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")
    assert not _mirrors_wait(database_url)


@pytest.mark.parametrize("command", ["sync", "sync of a deletion", "sync of all pages"])
async def test_no_mirror_waits_while_a_sync_reads(
    pages: PageServer, source_database: str, database_url: str, waited: list[bool], command: str
) -> None:
    add_clients(source_database, 3)
    await sync_from(pages, database_url, "clients")
    deletion = command == "sync of a deletion"
    execute(source_database, "DELETE FROM clients WHERE id = 2" if deletion else "UPDATE clients SET notes = 'x'")
    stand_at(database_url, "shadow")
    waited.clear()
    await sync_from(pages, database_url, "clients", most_by_key=1 if command == "sync of all pages" else 5000)
    assert waited
    assert not any(waited)
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")
    assert not _mirrors_wait(database_url)


async def test_no_mirror_back_between_the_reading_of_a_row_and_its_writing(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 3)
    await sync_from(pages, database_url, "clients")
    stand_at(database_url, "live")
    execute(database_url, "UPDATE clients SET notes = 'x' WHERE id <> 2; DELETE FROM clients WHERE id = 2")
    waited: list[tuple[str, bool]] = []

    def hook(request: Request) -> Fault | None:
        if request.method != "GET" and request.table == "clients":
            waited.append((request.method, _mirrors_wait(database_url)))
        return None

    pages.hook = hook
    await sync_from(pages, database_url, "clients", reverse=True)
    assert waited == [("DELETE", True), ("POST", True)]
