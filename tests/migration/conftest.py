"""Sources for the engine: the tests' page server, and `@supabase/lite`."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from psycopg import sql

from app import revisions
from app.migration.range_loader import RangeLoader, Route
from app.migration.ranges import KeyRange
from tests.migration.engine import execute
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer
from tests.support.supabase import SupabaseServer, SupabaseServers

TABLES = (
    "companies, clients, services, staff, staff_schedules, bookings, dialog_contexts, messages, actions, "
    "company_sync_status, whatsapp_auth, whatsapp_keys"
)

# A range that was loaded: its table and number, whether straight into the table, and whether in binary form.
Routed = tuple[str, int, bool, bool]


@dataclass(frozen=True)
class Source:
    """A server, and the database behind it to be filled by the test.

    Attributes:
        url: of the REST server, or of the database itself.
    """

    url: str
    service_key: str
    database_url: str
    is_lite: bool


@pytest.fixture
def source_database(postgres_server: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The database under the page server: at the newest revision, without rows, dropped after the test."""
    url = postgres_server.create_database(template=migrated_template)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def pages(source_database: str) -> Iterator[PageServer]:
    """A page server on the source's database."""
    with PageServer(source_database) as server:
        yield server


@pytest.fixture(scope="session")
def lite_with_row_cap(supabase_server_factory: SupabaseServers) -> SupabaseServer:
    """A lite server that gives 7 rows at a time."""
    return supabase_server_factory(revisions.upgrade, max_rows=7)


@pytest.fixture(params=["page server", "lite", "connection"])
def source(request: pytest.FixtureRequest) -> Source:
    """A server with a row cap of 7, or a database connection; without rows yet."""
    if request.param == "lite":
        lite: SupabaseServer = request.getfixturevalue("lite_with_row_cap")
        execute(lite.database_url, f"TRUNCATE {TABLES} RESTART IDENTITY")
        return Source(lite.url, lite.service_key, lite.database_url, is_lite=True)
    database: str = request.getfixturevalue("source_database")
    if request.param == "connection":
        return Source(database, "", database, is_lite=False)
    server: PageServer = request.getfixturevalue("pages")
    server.max_rows = 7
    return Source(server.url, server.service_key, database, is_lite=False)


@pytest.fixture
def connected(source_database: str) -> Source:
    """The source over a database connection, without rows yet."""
    return Source(source_database, "", source_database, is_lite=False)


@pytest.fixture
def routes(monkeypatch: pytest.MonkeyPatch) -> list[Routed]:
    """The ranges that are loaded, in their order."""
    seen: list[Routed] = []
    original = RangeLoader._pipe

    async def pipe(self: RangeLoader, route: Route, key_range: KeyRange, into: sql.Identifier) -> int:
        straight = into == route.table.identifier
        seen.append((route.table.name, key_range.number, straight, route.binary))
        return await original(self, route, key_range, into)

    monkeypatch.setattr(RangeLoader, "_pipe", pipe)
    return seen
