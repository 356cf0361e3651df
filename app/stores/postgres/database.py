"""The bot's PostgreSQL: reads, statements and transactions by the driver alone, for the tables of a schema."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from copy import copy
from functools import lru_cache
from typing import Any, Self

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Select, make_url
from sqlalchemy.sql.dml import ReturningInsert

from app.common.schemas import DATA, Schemas
from app.cutover.failover_mark import FailoverMark, StaleServerError
from app.cutover.fencing import WriteGuard
from app.state.wal import WalPlace
from app.stores.postgres.commit import commit
from app.stores.postgres.connection_pool import ConnectionPool, Driver, end_turns, take_turns
from app.stores.postgres.database_url import schemas_of_url
from app.stores.postgres.poolers.pooled_connection import ANOTHERS_SESSION
from app.stores.postgres.primary import Primary
from app.stores.postgres.translated_errors import AnothersSessionError, fetched, translated_errors

_DIALECT = make_url("postgresql+psycopg://").get_dialect()()
Kept = Select[Any] | ReturningInsert[Any]  # a statement that is kept, since it is compiled at its first use


class Statements:
    """Carries statements out on a connection of the pool, by the driver alone, for the tables of a schema."""

    __slots__ = ("_database", "driver")

    def __init__(self, database: Database, driver: Driver) -> None:
        self._database = database
        self.driver = driver

    @property
    def guard(self) -> WriteGuard:
        """To be asked before each write of a repository."""
        return self._database.guard

    async def execute(self, query: str, params: Mapping[str, object] | None = None) -> psycopg.AsyncCursor[Any]:
        """One statement; errors are psycopg's."""
        return await self.driver.execute(self._database.schemas.named(query).encode(), params)

    async def fetch(self, statement: Kept, parameters: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        """The rows of a statement; psycopg's errors, or UnreadableError where a value cannot be held."""
        return await fetched(await self.driver.execute(*self._database.compiled(statement, parameters)))

    fetch_text = fetch

    async def commit(self) -> None:
        """Make the writes of a transaction last.

        Raises:
            OutcomeUnknownError: see `app.stores.postgres.commit`.
            StoreError: rolled back.
        """
        with translated_errors(writing=True):
            place = await commit(self.driver, locate=self._database.on_commit is not None)
        if self._database.on_commit is not None:
            self._database.on_commit(place)


class Database:
    """A pool of connections, each for one read, for statements in autocommit, or for a transaction.

    Nobody who comes later gets a connection before those who wait for one.

    Args:
        url: as in DATABASE_URL.
        pool_size: connections kept at most; a caller past that waits up to `pool_timeout`.
        pool_timeout: seconds to wait for a free connection, and for a new one to be made.
        statement_timeout: seconds after which the server cancels a statement.
        guard: asked before each write of a repository.
        mark: what this process has seen of failovers.
        primary: finds it, where the URL names several hosts; by default this pool looks for itself.
        prepared_max: statements that a connection keeps prepared; None: as psycopg does.

    Attributes:
        on_commit: told where the log stands after each commit, or None where that is not known; None: it is not asked
            for.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        pool_timeout: float = 30.0,
        statement_timeout: float = 30.0,
        guard: WriteGuard | None = None,
        mark: FailoverMark | None = None,
        primary: Primary | None = None,
        prepared_max: int | None = None,
    ) -> None:
        self.mark = mark or FailoverMark()
        self.schemas = schemas_of_url(url)
        self.on_commit: Callable[[WalPlace | None], None] | None = None
        self._pool = ConnectionPool(
            url,
            size=pool_size,
            timeout=pool_timeout,
            statement_timeout=statement_timeout,
            mark=self.mark,
            primary=primary,
            prepared_max=prepared_max,
        )
        self.guard = guard or WriteGuard(mark=self.mark)
        self._turns: tuple[asyncio.Semaphore, ...] = (self._pool.turns,)
        self._is_shared = False

    def in_schema(self, schema: str, *, guard: WriteGuard | None = None, mark: FailoverMark | None = None) -> Self:
        """The tables of a schema, over the connections of this pool; closing it closes none.

        It has half of the connections at most, so that those who wait in one schema leave some for the others.

        Args:
            guard, mark: of that schema.
        """
        other = copy(self)
        other.schemas = Schemas(schema)
        other.mark = mark or self.mark.beside()
        other._turns = (asyncio.Semaphore(-(-self._pool.size // 2)), *self._turns)
        other._is_shared = True
        other.guard = guard or WriteGuard(mark=other.mark)
        return other

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler stands before the server, as far as it is known."""
        return self._pool.is_pooled

    async def fetch(self, statement: Kept, parameters: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        """The rows of a statement: one round trip in autocommit, with nothing between it and the driver.

        Args:
            statement: one that is kept, since it is compiled at its first use. No value in it is cast to text, whose
                form settings decide: there are none through a pooler.

        Raises:
            UnreadableError: a value cannot be held.
            StoreError: one of its kinds.
        """
        with translated_errors(writing=False):
            try:
                return await self._fetch(statement, parameters)
            except ANOTHERS_SESSION:  # a pooler is known to be there now
                return await self._fetch(statement, parameters)

    async def fetch_text(
        self, statement: Kept, parameters: Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]:
        """The same for values that are cast to text: in a transaction, which has its settings."""
        with translated_errors(writing=False):
            async with self._begun() as statements:
                return await statements.fetch(statement, parameters)

    async def _fetch(self, statement: Kept, parameters: Mapping[str, object] | None) -> list[tuple[Any, ...]]:
        async with self.driver() as driver:
            return await fetched(await driver.execute(*self.compiled(statement, parameters)))

    @asynccontextmanager
    async def driver(self, *, autocommit: bool = True) -> AsyncIterator[Driver]:
        """A connection of the driver's; one that is left amid a transaction, or leads to an old server, is dropped."""
        await take_turns(self._turns, self._pool.timeout)
        try:
            with self._pool.waiting():
                connection = await self._pool.take()
                is_stale = False
                try:
                    driver = connection.driver
                    if driver.autocommit is not autocommit:
                        await driver.set_autocommit(autocommit)
                    yield driver
                except (StaleServerError, psycopg.errors.ReadOnlySqlTransaction):  # what began read-only stays it
                    is_stale = True
                    raise
                finally:
                    self._pool.put_back(connection, broken=is_stale)
        except (*ANOTHERS_SESSION, AnothersSessionError):
            self._pool.is_pooled = True
            raise
        finally:
            end_turns(self._turns)

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[Statements]:
        """A connection in autocommit: one statement, one round trip.

        Through a pooler it has no settings of its own, and is answered in PostgreSQL's binary form: a statement names
        its tables with their schema, casts no time and no number to text, and gives no type of which psycopg knows no
        binary form (as `pg_lsn`).
        """
        with translated_errors(writing=False):
            async with self.driver() as driver:
                yield Statements(self, driver)

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[Statements]:
        """A connection in a transaction that the caller commits; anything else rolls back."""
        with translated_errors(writing=True):
            async with self._begun() as statements:
                yield statements

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Statements]:
        """As `writer`, committed at the end. Errors as of `Statements.commit`."""
        async with self.writer() as statements:
            yield statements
            await statements.commit()

    @asynccontextmanager
    async def _begun(self) -> AsyncIterator[Statements]:
        async with self.driver(autocommit=False) as driver:
            try:
                yield Statements(self, driver)
            except StaleServerError:
                raise  # the connection is not used again
            except BaseException:  # a caller who is cancelled gives a sound connection back, too
                with suppress(psycopg.Error):
                    await driver.rollback()
                raise
            if driver.pgconn.transaction_status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}:
                await driver.rollback()

    def compiled(
        self, statement: Kept, parameters: Mapping[str, object] | None, schemas: Schemas | None = None
    ) -> tuple[bytes, Mapping[str, object]]:
        """The text and the values of a statement that is kept, for a connection of `driver`.

        Args:
            schemas: whose tables are meant; None: this pool's.
        """
        schemas = schemas or self.schemas
        names_schema = self.is_pooled or schemas.data != "public"
        query, values = _compiled(statement, names_schema=names_schema)
        return schemas.named(query).encode(), {**values, **parameters} if parameters else values

    async def close(self) -> None:
        """Close every connection of the pool, and give up those that are still being made."""
        if not self._is_shared:
            await self._pool.close()


@lru_cache(maxsize=512)
def _compiled(statement: Kept, *, names_schema: bool) -> tuple[str, Mapping[str, object]]:
    """The text of a statement, the same for all schemas, and the values that it comes with.

    Args:
        names_schema: its tables are found whatever the search path is.
    """
    named: dict[str, Any] = {"schema_translate_map": {None: DATA}, "render_schema_translate": True}
    compiled = statement.compile(dialect=_DIALECT, **(named if names_schema else {}))
    return str(compiled), compiled.params
