"""The bot's PostgreSQL: the engine, its pool, reads and connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext, suppress
from copy import copy
from functools import lru_cache
from typing import Any, Self

import psycopg
from sqlalchemy import Connection, Dialect, Select, event
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.common.background import BackgroundTasks
from app.common.driver_errors import without_values
from app.common.schemas import DATA, Schemas, Statements
from app.cutover.failover_mark import FailoverMark
from app.cutover.fencing import GUARD_OPTION, WriteGuard
from app.errors import UnavailableError
from app.state.wal import WalPlace
from app.stores.codec.text_values import register_loaders
from app.stores.postgres.commit import commit, commit_driver
from app.stores.postgres.database_url import schemas_of_url, sqlalchemy_url, tls_advice, uses_pgbouncer
from app.stores.postgres.idle_connections import Driver, IdleConnections
from app.stores.postgres.keepalives import KEEPALIVES
from app.stores.postgres.poolers.pooled_connection import ANOTHERS_SESSION, settle
from app.stores.postgres.primary import Primary
from app.stores.postgres.translated_errors import fetched, translated_errors

_CLOSING_SECONDS = 2.0
_SCHEMAS_OPTION = "botdata_schemas"  # the execution option that says what the statements of a connection mean


class Database:
    """An engine, reads by the driver alone, and the two kinds of connection that the rest uses.

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
        self._prepared_max = prepared_max
        self.mark = mark or FailoverMark()
        self._primary = primary or Primary.of(url, self.mark)
        self.on_commit: Callable[[WalPlace | None], None] | None = None
        address = sqlalchemy_url(url)
        self.schemas = schemas_of_url(url)
        connect_args: dict[str, Any] = {
            **{name: value for name, value in KEEPALIVES.items() if name not in address.query},
            "connect_timeout": max(2, int(pool_timeout)),
            "async_creator_fn": self._new_connection,
        }
        self.engine: AsyncEngine = create_async_engine(
            address,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout,
            pool_reset_on_return=None,  # a transaction is ended by the code that began it
            hide_parameters=True,
            use_native_hstore=False,  # would ask each new connection about a type that no table has
            connect_args=connect_args,
            execution_options={GUARD_OPTION: guard or WriteGuard(mark=self.mark), **_named_by(self.schemas)},
        )
        event.listen(self.engine.sync_engine, "before_cursor_execute", _name_schemas, retval=True)
        _hide_rows()
        self._reading = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._milliseconds = max(1, int(statement_timeout * 1000))
        self._pool_timeout = pool_timeout
        self._tls_advice = tls_advice(url)
        # Whatever the server greets with.
        self._idle = IdleConnections(self.engine, self.mark, is_pooled=uses_pgbouncer(url))
        self._pool_size = pool_size
        self._turns: tuple[asyncio.Semaphore, ...] = (asyncio.Semaphore(pool_size),)
        self._is_shared = False
        self._acquiring = BackgroundTasks()
        self._returning = BackgroundTasks()

    def in_schema(self, schema: str, *, guard: WriteGuard | None = None, mark: FailoverMark | None = None) -> Self:
        """The tables of a schema, over the connections of this pool; closing it closes none.

        It has half of the connections at most, so that those who wait in one schema leave some for the others.

        Args:
            guard, mark: of that schema.
        """
        other = copy(self)
        other.schemas = Schemas(schema)
        other.mark = mark or self.mark.beside()
        other.engine = self.engine.execution_options(
            **{GUARD_OPTION: guard or WriteGuard(mark=other.mark), **_named_by(other.schemas)}
        )
        other._reading = other.engine.execution_options(isolation_level="AUTOCOMMIT")
        other._turns = (asyncio.Semaphore(-(-self._pool_size // 2)), *self._turns)
        other._is_shared = True
        return other

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler stands before the server, as far as it is known."""
        return self._idle.is_pooled

    async def fetch(
        self, statement: Select[Any], parameters: Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]:
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
        self, statement: Select[Any], parameters: Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]:
        """The same for values that are cast to text: in a transaction, which has its settings."""
        with translated_errors(writing=False):
            async with self._connected(self.engine) as connection:
                return [tuple(row) for row in await connection.execute(statement, parameters)]

    async def _fetch(self, statement: Select[Any], parameters: Mapping[str, object] | None) -> list[tuple[Any, ...]]:
        async with self.driver() as driver:
            return await fetched(await driver.execute(*self.compiled(statement, parameters)))

    @asynccontextmanager
    async def driver(self, *, autocommit: bool = True) -> AsyncIterator[Driver]:
        """A connection of the driver's; one that is left amid a transaction is dropped.

        In autocommit and through a pooler it is as one of `reader`, and is found out as there.
        """
        await take_turns(self._turns, self._pool_timeout)
        try:
            with self._watched():
                idle = await self._idle.take()
                if idle is None:
                    async with self._taken(self._reading if autocommit else self.engine) as connection:
                        new = (await connection.get_raw_connection()).driver_connection
                        assert new is not None
                        try:
                            yield new
                        finally:
                            if new.closed:
                                await connection.invalidate()
                    return
                try:
                    driver: Any = idle.driver_connection
                    if driver.autocommit is not autocommit:
                        await driver.set_autocommit(autocommit)
                    yield driver
                finally:
                    self._idle.put_back(idle)
        except ANOTHERS_SESSION:
            self._idle.is_pooled = True
            raise
        finally:
            end_turns(self._turns)

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[AsyncConnection]:
        """A connection in autocommit: one statement, one round trip.

        Through a pooler it has no settings of its own, and is answered in PostgreSQL's binary form: a statement names
        its tables with their schema, casts no time and no number to text, and gives no type of which psycopg knows no
        binary form (as `pg_lsn`).
        """
        with translated_errors(writing=False):
            async with self._connected(self._reading) as connection:
                yield connection

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[Statements]:
        """As `reader`, by the driver alone: a third of the processor time."""
        with translated_errors(writing=False):
            async with self.driver() as driver:
                yield Statements(driver, self.schemas)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Statements]:
        """As `writer`, by the driver alone; committed at the end, rolled back on an error.

        Raises:
            OutcomeUnknownError: see `app.stores.postgres.commit`.
            StoreError: rolled back.
        """
        with translated_errors(writing=True):
            async with self.driver(autocommit=False) as driver:
                try:
                    yield Statements(driver, self.schemas)
                except Exception:
                    if not driver.closed:
                        await driver.rollback()
                    raise
                await commit_driver(driver)

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that the caller commits; anything else rolls back."""
        with translated_errors(writing=True):
            async with self._connected(self.engine) as connection:
                yield connection

    async def commit(self, connection: AsyncConnection) -> None:
        """Make the writes of a transaction of `writer` last.

        Raises:
            OutcomeUnknownError: see `app.stores.postgres.commit`.
            StoreError: rolled back.
        """
        with translated_errors(writing=True):
            place = await commit(connection, locate=self.on_commit is not None)
        if self.on_commit is not None:
            self.on_commit(place)

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        with translated_errors(writing=False):  # nothing can be written before there is a connection
            await take_turns(self._turns, self._pool_timeout)
        try:
            with self._watched():
                async with self._taken(engine) as connection:
                    yield connection
        finally:
            end_turns(self._turns)

    def _watched(self) -> AbstractContextManager[None]:
        """For as long as a server is waited for: see `Primary.waiting`."""
        return nullcontext() if self._primary is None else self._primary.waiting()

    @asynccontextmanager
    async def _taken(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        with translated_errors(writing=False):
            connection = await self._acquire(engine)
        try:
            yield connection
        finally:
            await asyncio.shield(self._give_back(connection))

    def compiled(
        self, statement: Select[Any], parameters: Mapping[str, object] | None, schemas: Schemas | None = None
    ) -> tuple[bytes, Mapping[str, object]]:
        """The text and the values of a statement that is kept, for a connection of `driver`.

        Args:
            schemas: whose tables are meant; None: this pool's.
        """
        schemas = schemas or self.schemas
        names_schema = self.is_pooled or schemas.data != "public"
        query, values = _compiled(statement, self.engine.dialect, names_schema=names_schema)
        return schemas.named(query).encode(), {**values, **parameters} if parameters else values

    async def _acquire(self, engine: AsyncEngine) -> AsyncConnection:
        # A cancelled caller must not interrupt the pool half-way: the connection would be lost, and left open.
        acquiring = self._acquiring.start(_start(engine))
        try:
            return await asyncio.shield(acquiring)
        except asyncio.CancelledError:
            acquiring.add_done_callback(self._give_up)
            raise

    def _give_up(self, acquired: asyncio.Task[AsyncConnection]) -> None:
        if not acquired.cancelled() and acquired.exception() is None:
            self._give_back(acquired.result())

    def _give_back(self, connection: AsyncConnection) -> asyncio.Task[None]:
        # A task of its own: a rollback that is cancelled half-way would lose the connection, and leave it open.
        return self._returning.start(connection.close())

    async def _new_connection(self, *arguments: Any, **options: Any) -> psycopg.AsyncConnection[Any]:
        try:
            if self._primary is not None:
                connection = await self._primary.connect(options, seconds=self._pool_timeout)
            else:
                connection = await psycopg.AsyncConnection.connect(*arguments, **options)
        except psycopg.OperationalError as error:
            if error.sqlstate is None and self._tls_advice:
                message = f"PostgreSQL cannot be reached; {self._tls_advice}"
                raise UnavailableError(message) from without_values(error)
            raise
        try:
            register_loaders(connection.adapters)
            if self._prepared_max is not None:
                connection.prepared_max = self._prepared_max
                connection.prepare_threshold = 1  # nothing is said of how often a statement of one schema comes
            # The clock's defaults (CURRENT_TIMESTAMP into a timestamp without zone) are to be UTC, as in Supabase.
            is_pooled = await settle(connection, self._milliseconds, is_pooled=self._idle.is_pooled)
            self._idle.is_pooled |= is_pooled
        except BaseException:
            await connection.close()
            raise
        return connection

    async def close(self) -> None:
        """Close every connection of the pool, and give up those that are still being made."""
        if self._is_shared:
            return
        self._acquiring.cancel()
        if self._primary is not None:
            await self._primary.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                while len(self._acquiring) or len(self._returning):  # one that was acquired is then returned
                    await self._acquiring.wait()
                    await self._returning.wait()
        await self.engine.dispose()


async def take_turns(turns: Sequence[asyncio.Semaphore], seconds: float) -> None:
    """Take a turn of each, one after the other; at once where all are free.

    Raises:
        UnavailableError: not all were free in time; none is kept.
    """
    if not any(one.locked() for one in turns):
        for one in turns:
            await one.acquire()
        return
    try:
        async with asyncio.timeout(seconds), AsyncExitStack() as taken:
            for one in turns:
                await taken.enter_async_context(one)
            taken.pop_all()
    except TimeoutError as error:
        raise UnavailableError("no free database connection in time") from error


def end_turns(turns: Sequence[asyncio.Semaphore]) -> None:
    """Give back what `take_turns` took."""
    for one in turns:
        one.release()


class _HideRows(logging.Filter):
    """Drops the lines that show a result's rows, which SQLAlchemy logs at DEBUG, hidden parameters or not."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).endswith("Row %r")


def _hide_rows() -> None:
    logger = logging.getLogger("sqlalchemy.engine.Engine")
    if not any(isinstance(known, _HideRows) for known in logger.filters):
        logger.addFilter(_HideRows())


async def _start(engine: AsyncEngine) -> AsyncConnection:
    try:
        return await engine.connect()
    except InvalidRequestError:  # the pool's word after several that were not fit to be given out
        raise UnavailableError("PostgreSQL closes its connections as soon as they are made") from None


def _named_by(schemas: Schemas) -> dict[str, Any]:
    """Options by which statements mean the tables of these schemas; those of `public` are found by the path."""
    translated = {} if schemas.data == "public" else {"schema_translate_map": {None: schemas.data}}
    return {_SCHEMAS_OPTION: schemas, **translated}


def _name_schemas(
    connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> tuple[str, Any]:
    schemas: Schemas = connection.get_execution_options()[_SCHEMAS_OPTION]
    return schemas.named(statement), parameters


@lru_cache(maxsize=512)
def _compiled(statement: Select[Any], dialect: Dialect, *, names_schema: bool) -> tuple[str, Mapping[str, object]]:
    """The text of a statement, the same for all schemas, and the values that it comes with.

    Args:
        names_schema: its tables are found whatever the search path is.
    """
    named: dict[str, Any] = {"schema_translate_map": {None: DATA}, "render_schema_translate": True}
    compiled = statement.compile(dialect=dialect, **(named if names_schema else {}))
    return str(compiled), compiled.params
