"""Supabase under the tests: TEST_SUPABASE_URL and TEST_SUPABASE_KEY, else `@supabase/lite`.

The lite server stands on a database of the embedded PostgreSQL, whatever server the target is.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from sqlalchemy.engine import make_url

from app.embedded import SupabaseLite, prepare_supabase_roles
from tests.support.postgres import PostgresServer, Prepare


@dataclass(frozen=True)
class SupabaseServer:
    """A Supabase and the database behind it. `publishable_key` is None where only a service key was given."""

    url: str
    service_key: str
    publishable_key: str | None
    database_url: str
    reload_schema: Callable[[], None]
    """To be called after DDL: a server knows the tables from its start."""


class SupabaseServers:
    """Starts lite servers, each on a fresh database; `close` stops them and drops their databases."""

    def __init__(self, server: PostgresServer, directory: Path) -> None:
        """`server` is an embedded one."""
        self._server = server
        self._directory = directory
        self._started = 0
        self._clean_up = ExitStack()

    def __call__(self, prepare: Prepare | None = None, *, max_rows: int = 1000) -> SupabaseServer:
        """A new server on a new database, which `prepare` fills; `max_rows` is the most rows in one answer."""
        embedded = self._server.embedded
        assert embedded is not None
        database_url = self._server.create_database()
        self._clean_up.callback(self._server.drop_database, database_url)
        if prepare:
            prepare(database_url)
        self._started += 1
        lite = SupabaseLite.start(
            embedded, make_url(database_url).database or "", self._directory / str(self._started), max_rows=max_rows
        )
        self._clean_up.callback(lite.stop)
        return SupabaseServer(lite.url, lite.service_key, lite.publishable_key, database_url, lite.reload_schema)

    def close(self) -> None:
        self._clean_up.close()


def describe() -> str:
    """The choice in words, for the report's header."""
    url = os.environ.get("TEST_SUPABASE_URL")
    return f"TEST_SUPABASE_URL ({urlsplit(url).hostname})" if url else "@supabase/lite"


def is_given() -> bool:
    """Whether the environment names a Supabase."""
    return bool(os.environ.get("TEST_SUPABASE_URL"))


def given_server(prepare: Prepare) -> SupabaseServer:
    """The Supabase that the environment names; `prepare` is run where its database has no table `clients` yet."""
    database_url = os.environ["TEST_SUPABASE_DATABASE_URL"]
    with psycopg.connect(database_url) as connection:
        known = connection.execute("SELECT to_regclass('public.clients') IS NOT NULL").fetchone() == (True,)
    if not known:
        prepare(database_url)
        prepare_supabase_roles(database_url)
        _notify_postgrest(database_url)
    return SupabaseServer(
        url=os.environ["TEST_SUPABASE_URL"],
        service_key=os.environ["TEST_SUPABASE_KEY"],
        publishable_key=os.environ.get("TEST_SUPABASE_ANON_KEY"),
        database_url=database_url,
        reload_schema=lambda: _notify_postgrest(database_url),
    )


def _notify_postgrest(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("NOTIFY pgrst, 'reload schema'")
