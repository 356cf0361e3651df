"""Fixtures that every test may use; the servers behind them are in tests/support."""

from collections.abc import Iterator

import pytest

from app import revisions
from tests.support import postgres, supabase
from tests.support.postgres import PostgresServer
from tests.support.supabase import SupabaseServer, SupabaseServers


def pytest_report_header() -> list[str]:
    return [f"PostgreSQL: {postgres.describe()}", f"Supabase: {supabase.describe()}"]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The PostgreSQL under the tests."""
    with postgres.start_postgres_server() as server:
        yield server


@pytest.fixture
def fresh_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The libpq URL of an empty database, dropped after the test."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a database at the newest revision, to be cloned and not connected to."""
    url = postgres_server.create_database()
    revisions.upgrade(url)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def database_url(postgres_server: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The libpq URL of a database of its own at the newest revision, without rows, dropped after the test."""
    url = postgres_server.create_database(template=migrated_template)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def supabase_server_factory(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SupabaseServers]:
    """Called as `factory(prepare, max_rows=7)`, starts another Supabase on a fresh database."""
    servers = SupabaseServers(postgres_server, tmp_path_factory.mktemp("supabase"))
    yield servers
    servers.close()


@pytest.fixture(scope="session")
def supabase_server(supabase_server_factory: SupabaseServers) -> Iterator[SupabaseServer]:
    """The Supabase under the tests, its schema at the newest revision; rows stay from one test to the next."""
    with supabase.start_supabase_server(supabase_server_factory, revisions.upgrade) as server:
        yield server
