"""The stores that the calls are measured on: a made-up salon in PostgreSQL, data layers on it, psycopg's own pool."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from app.data_layer import DataLayer, open_data_layer
from app.embedded import EmbeddedPostgres
from app.embedded.salon import fill_salon
from app.embedded.supabase_lite import SupabaseLite
from app.migration.target.target_session import open_target
from app.schema import revisions
from app.settings import Settings
from app.state.tool_schema import ensure_tool_schema

T = TypeVar("T")
POOL_SIZE = 10


class Stores:
    """A loop, and what is open in it; calls of all of them run in this one process.

    Attributes:
        data: the data layer on PostgreSQL, USE_REPOSITORY_PATTERN=true.
        by_hand: psycopg's own pool on the same database: dictionaries as rows, autocommit.
    """

    def __init__(self, postgres: EmbeddedPostgres, database_url: str, directory: Path) -> None:
        self._postgres = postgres
        self._url = database_url
        self._directory = directory
        self._runner = asyncio.Runner()
        self._open = AsyncExitStack()
        self._servers = ExitStack()
        self.run(self._start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out on the loop of all the stores."""
        return self._runner.run(work)

    def supabase(self) -> DataLayer:
        """A data layer on a Supabase in front of the same database."""
        name = self._url.partition("@/")[2].partition("?")[0]
        server = self._servers.enter_context(SupabaseLite.start(self._postgres, name, self._directory))
        settings = Settings(
            _env_file=None,
            use_repository_pattern=False,
            supabase_url=server.url,
            supabase_key=server.service_key,
            database_url=None,
        )
        return self.run(self._open.enter_async_context(open_data_layer(settings)))

    async def _start(self) -> None:
        async with open_target(self._url, step="benchmark") as connection:
            await ensure_tool_schema(connection)
        settings = Settings(
            _env_file=None, use_repository_pattern=True, database_url=self._url, database_pool_size=POOL_SIZE
        )
        self.data = await self._open.enter_async_context(open_data_layer(settings))
        self.by_hand: AsyncConnectionPool[Any] = AsyncConnectionPool(
            self._url,
            min_size=POOL_SIZE,
            max_size=POOL_SIZE,
            kwargs={"autocommit": True, "row_factory": dict_row},
            open=False,
        )
        await self._open.enter_async_context(self.by_hand)
        await self.by_hand.wait()

    def close(self) -> None:
        """End all of it."""
        with self._runner, self._servers:
            self.run(self._open.aclose())


@contextmanager
def open_stores(**rows: int) -> Iterator[Stores]:
    """The stores on a new server.

    Args:
        rows: as `fill_salon` takes them, e.g. `clients=20_000`.
    """
    with tempfile.TemporaryDirectory() as directory, EmbeddedPostgres.start(durable=False) as postgres:
        url = postgres.create_database("bot")
        revisions.upgrade(url)
        fill_salon(url, **rows)
        stores = Stores(postgres, url, Path(directory))
        try:
            yield stores
        finally:
            stores.close()


async def fetch(pool: AsyncConnectionPool[Any], statement: str, *parameters: object) -> list[DictRow]:
    """A statement by hand: its rows as dictionaries."""
    async with pool.connection() as connection:
        cursor = await connection.execute(statement, parameters)
        return await cursor.fetchall()
