"""Fixtures of the cutover's tests: a Supabase, a target with the tool's schema, both empty, and settings for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest

from app import revisions
from app.migration.target import open_target
from app.migration.tool_schema import ensure_tool_schema
from app.settings import Settings
from tests.contract.stores import TABLES
from tests.cutover.servers import Servers
from tests.support.postgres import PostgresServer
from tests.support.supabase import SupabaseServer, SupabaseServers

MakeSettings = Callable[..., Settings]


@dataclass(frozen=True)
class Pair:
    """The two stores of one test.

    Attributes:
        source: the database behind the Supabase, as a libpq URL.
        target: the database that is moved to, likewise.
    """

    supabase: SupabaseServer
    source: str
    target: str

    def ask(self, statement: str, *parameters: Any, store: str = "target") -> list[Any]:
        """The rows of a statement on one of the stores; [] where it gives none."""
        with psycopg.connect(getattr(self, store), autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description is not None else []

    def texts(self, table: str, store: str) -> list[str]:
        """Every row of a table as PostgreSQL's text, in order: the oracle for equal stores."""
        return [row[0] for row in self.ask(f"SELECT t::text FROM {table} t ORDER BY 1", store=store)]

    def set_stage(self, stage: str) -> None:
        """Put the row to a stage, behind the commands' back."""
        self.ask(f"UPDATE botdata.stage SET stage = '{stage}', moved_at = now()")


@pytest.fixture(scope="session")
def cutover_supabase(supabase_server_factory: SupabaseServers) -> SupabaseServer:
    return supabase_server_factory(revisions.upgrade)


@pytest.fixture(scope="session")
async def tool_template(postgres_server: PostgresServer, migrated_template: str) -> str:
    """A database at the newest revision with schema botdata, to be cloned and not connected to."""
    url = postgres_server.create_database(template=migrated_template)
    async with open_target(url, step="test") as connection:
        await ensure_tool_schema(connection)
    return url


@pytest.fixture
def pair(cutover_supabase: SupabaseServer, postgres_server: PostgresServer, tool_template: str) -> Iterator[Pair]:
    """Both stores, empty."""
    target = postgres_server.create_database(template=tool_template)
    both = Pair(cutover_supabase, cutover_supabase.database_url, target)
    both.ask(f"TRUNCATE {', '.join(TABLES)} RESTART IDENTITY", store="source")
    yield both
    postgres_server.drop_database(target)


@pytest.fixture
def settings_of(pair: Pair, tmp_path: Path) -> MakeSettings:
    """Settings for the two stores, following the row unless they say otherwise; short times."""

    def make(**given: Any) -> Settings:
        return Settings(
            _env_file=None,
            **{
                "supabase_url": pair.supabase.url,
                "supabase_key": pair.supabase.service_key,
                "database_url": pair.target,
                "cutover_stage": "database",
                "cutover_spool": tmp_path / "spool",
                "outcome_settles_after": 2.0,
                **given,
            },
        )

    return make


@pytest.fixture
def patient(settings_of: MakeSettings) -> MakeSettings:
    """The same settings, but with time for a note however busy the machine is."""
    return lambda **given: settings_of(**{"note_timeout": 20.0, **given})


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets how long a mirror may take, whatever is tried again, without proofs being worth nothing."""
    return lambda seconds: monkeypatch.setattr("app.data_layer.notes._MOMENT", seconds)


@pytest.fixture
def at_dualwrite(pair: Pair) -> Pair:
    """Both stores, empty, at the stage `dualwrite`."""
    pair.set_stage("dualwrite")
    return pair


@pytest.fixture(scope="session")
def load_servers() -> Iterator[Servers]:
    with TemporaryDirectory(prefix="botdata-load-") as directory:
        Path(directory).chmod(0o755)  # a PostgreSQL that root starts runs as another user
        with Servers(Path(directory)) as both:
            yield both


@pytest.fixture
def servers(load_servers: Servers) -> Servers:
    """Both stores on servers of their own, a made-up salon in both, at the stage `off`."""
    load_servers.reset()
    return load_servers
