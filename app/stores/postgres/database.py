"""The bot's PostgreSQL: the engine, its pool, reads and connections, and driver errors turned into ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import Connection, Dialect, Select, event
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InvalidRequestError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.common.background import BackgroundTasks
from app.common.driver_errors import without_values
from app.common.schemas import DATA, Schemas
from app.cutover.fencing import GUARD_OPTION, WriteGuard
from app.errors import OutcomeUnknownError, StoreError, UnavailableError, error_for_sqlstate
from app.stores.codec.text_values import register_loaders
from app.stores.postgres.database_url import schemas_of_url, sqlalchemy_url, tls_advice, uses_pgbouncer
from app.stores.postgres.idle_connections import Driver, IdleConnections
from app.stores.postgres.keepalives import KEEPALIVES
from app.stores.postgres.pooled_connection import ANOTHERS_SESSION, settle

if TYPE_CHECKING:
    pass

_CLOSING_SECONDS = 2.0
_SCHEMAS_OPTION = "botdata_schemas"  # the execution option that says what the statements of a connection mean
# What psycopg raises for a value that it has received and Python cannot hold.
UNREADABLE = (psycopg.DataError, ValueError, OverflowError, RecursionError)


class UnreadableError(StoreError):
    """A row has come that holds a value which Python cannot hold."""


class Database:
    """An engine, reads by the driver alone, and the two kinds of connection that the rest uses.

    Nobody who comes later gets a connection before those who wait for one.

    Args:
        url: as in DATABASE_URL.
        pool_size: connections kept at most; a caller past that waits up to `pool_timeout`.
        pool_timeout: seconds to wait for a free connection, and for a new one to be made.
        statement_timeout: seconds after which the server cancels a statement.
        guard: asked before each write of a repository.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        pool_timeout: float = 30.0,
        statement_timeout: float = 30.0,
        guard: WriteGuard | None = None,
    ) -> None:
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
            execution_options={GUARD_OPTION: guard or WriteGuard(), **_named_by(self.schemas)},
        )
        event.listen(self.engine.sync_engine, "before_cursor_execute", _name_schemas, retval=True)
        _hide_rows()
        self._reading = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._milliseconds = max(1, int(statement_timeout * 1000))
        self._pool_timeout = pool_timeout
        self._tls_advice = tls_advice(url)
        self._idle = IdleConnections(self.engine, is_pooled=uses_pgbouncer(url))  # whatever the server greets with
        self._turns = asyncio.Semaphore(pool_size)
        self._acquiring = BackgroundTasks()
        self._returning = BackgroundTasks()

    async def fetch(
        self, statement: Select[Any], parameters: Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]:
        """The rows of a statement: one round trip in autocommit, with nothing between it and the driver.

        Args:
            statement: one that is kept, since it is compiled at its first use.

        Raises:
            UnreadableError: a value cannot be held.
            StoreError: one of its kinds.
        """
        text, values = _compiled(statement, self.engine.dialect)
        query = self.schemas.named(text).encode()
        if parameters:
            values = {**values, **parameters}
        with translated_errors(writing=False):
            try:
                return await self._fetch(query, values)
            except ANOTHERS_SESSION:
                self._idle.is_pooled = True
                return await self._fetch(query, values)

    async def _fetch(self, query: bytes, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        await self._take_turn()
        try:
            idle = await self._idle.take()
            if idle is None:
                return await self._fetch_on_new(query, values)
            try:
                driver: Any = idle.driver_connection
                if not driver.autocommit:
                    await driver.set_autocommit(True)
                return await _rows(driver, query, values)
            finally:
                self._idle.put_back(idle)
        finally:
            self._turns.release()

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[AsyncConnection]:
        """A connection in autocommit: one statement, one round trip."""
        with translated_errors(writing=False):
            async with self._connected(self._reading) as connection:
                yield connection

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that the caller commits; anything else rolls back."""
        with translated_errors(writing=True):
            async with self._connected(self.engine) as connection:
                yield connection

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        with translated_errors(writing=False):  # nothing can be written before there is a connection
            await self._take_turn()
        try:
            async with self._taken(engine) as connection:
                yield connection
        finally:
            self._turns.release()

    async def _take_turn(self) -> None:
        if not self._turns.locked():
            await self._turns.acquire()  # at once
            return
        try:
            async with asyncio.timeout(self._pool_timeout):
                await self._turns.acquire()
        except TimeoutError as error:
            raise UnavailableError("no free database connection in time") from error

    @asynccontextmanager
    async def _taken(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        with translated_errors(writing=False):
            connection = await self._acquire(engine)
        try:
            yield connection
        finally:
            await asyncio.shield(self._give_back(connection))

    async def _fetch_on_new(self, query: bytes, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        async with self._taken(self._reading) as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            try:
                return await _rows(driver, query, values)
            finally:
                if driver.closed:
                    await connection.invalidate()

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
            connection = await psycopg.AsyncConnection.connect(*arguments, **options)
        except psycopg.OperationalError as error:
            if error.sqlstate is None and self._tls_advice:
                message = f"PostgreSQL cannot be reached; {self._tls_advice}"
                raise UnavailableError(message) from without_values(error)
            raise
        try:
            register_loaders(connection.adapters)
            # The clock's defaults (CURRENT_TIMESTAMP into a timestamp without zone) are to be UTC, as in Supabase.
            is_pooled = await settle(connection, self._milliseconds, is_pooled=self._idle.is_pooled)
            self._idle.is_pooled |= is_pooled
        except BaseException:
            await connection.close()
            raise
        return connection

    async def close(self) -> None:
        """Close every connection of the pool, and give up those that are still being made."""
        self._acquiring.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                while len(self._acquiring) or len(self._returning):  # one that was acquired is then returned
                    await self._acquiring.wait()
                    await self._returning.wait()
        await self.engine.dispose()


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
def _compiled(statement: Select[Any], dialect: Dialect) -> tuple[str, Mapping[str, object]]:
    """The text of a statement, of whatever schema, and the values that it comes with."""
    compiled = statement.compile(dialect=dialect, schema_translate_map={None: DATA}, render_schema_translate=True)
    return str(compiled), compiled.params


async def _rows(driver: Driver, query: bytes, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
    cursor = await driver.execute(query, values)
    try:
        return await cursor.fetchall()
    except UNREADABLE as error:
        raise UnreadableError("a row holds a value that Python cannot hold") from without_values(error)


@contextmanager
def translated_errors(*, writing: bool) -> Iterator[None]:
    """Turn driver errors into the tree of app.errors, by SQLSTATE and never by message text.

    Args:
        writing: a connection lost on the way leaves the outcome of a write unknown.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise UnavailableError("no free database connection in time") from error
    except DBAPIError as error:
        raise _translate(
            error.orig, invalidated=error.connection_invalidated, writing=writing, error=error
        ) from without_values(error.orig)
    except psycopg.Error as error:
        raise _translate(error, invalidated=False, writing=writing, error=error) from without_values(error)


def _translate(original: BaseException | None, *, invalidated: bool, writing: bool, error: BaseException) -> StoreError:
    if isinstance(original, ANOTHERS_SESSION):  # another client's statement may have been carried out
        kind = OutcomeUnknownError if writing else UnavailableError
        return kind("a pooler gave the connection another session; no statement is prepared from here on")
    if isinstance(original, psycopg.Error) and original.sqlstate is not None:
        return error_for_sqlstate(original.sqlstate, detail=_where(original))
    disconnected = invalidated or isinstance(
        error, (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)
    )
    if not disconnected:
        return StoreError("the database driver could not carry out the call")
    if writing and invalidated:
        return OutcomeUnknownError("the connection to PostgreSQL was lost during a write")
    return UnavailableError("PostgreSQL cannot be reached")


def _where(error: psycopg.Error) -> str:
    diagnostics = error.diag
    name = diagnostics.constraint_name or diagnostics.column_name or diagnostics.table_name
    return f" ({name})" if name else ""
