"""The pool of connections: how one is made, and taken and given back so that no cancelled caller loses it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext, suppress
from typing import Any

import psycopg
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.common.background import BackgroundTasks, end_all
from app.common.driver_errors import without_values
from app.cutover.failover_mark import FailoverMark
from app.errors import UnavailableError
from app.stores.codec.text_values import register_loaders
from app.stores.postgres.database_url import sqlalchemy_url, tls_advice, uses_pgbouncer
from app.stores.postgres.idle_connections import IdleConnections
from app.stores.postgres.keepalives import KEEPALIVES
from app.stores.postgres.poolers.pooled_connection import settle
from app.stores.postgres.primary import Primary
from app.stores.postgres.translated_errors import translated_errors

_CLOSING_SECONDS = 2.0
_CLOSED = "the connections to PostgreSQL are closed"


class ConnectionPool:
    """The connections to the servers of a URL. Arguments as of `Database`.

    Attributes:
        engine: SQLAlchemy's, whose pool it is.
        idle: those of the connections that nobody has.
        turns: one is taken before a connection, so that nobody who comes later gets one before those who wait.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int,
        timeout: float,
        statement_timeout: float,
        mark: FailoverMark,
        primary: Primary | None,
        prepared_max: int | None,
    ) -> None:
        self.size = size
        self.timeout = timeout
        self.turns = asyncio.Semaphore(size)
        self._primary = primary or Primary.of(url, mark)
        self._prepared_max = prepared_max
        self._milliseconds = max(1, int(statement_timeout * 1000))
        self._tls_advice = tls_advice(url)
        address = sqlalchemy_url(url)
        connect_args: dict[str, Any] = {
            **{name: value for name, value in KEEPALIVES.items() if name not in address.query},
            "connect_timeout": max(2, int(timeout)),
            "async_creator_fn": self._new_connection,
        }
        self.engine: AsyncEngine = create_async_engine(
            address,
            pool_size=size,
            max_overflow=0,
            pool_timeout=timeout,
            pool_reset_on_return=None,  # a transaction is ended by the code that began it
            hide_parameters=True,
            use_native_hstore=False,  # would ask each new connection about a type that no table has
            connect_args=connect_args,
        )
        logging.getLogger("sqlalchemy.engine.Engine").addFilter(_HIDE_ROWS)  # once, however often it is said
        self.idle = IdleConnections(self.engine, mark, is_pooled=uses_pgbouncer(url))  # whatever the server greets with
        self._making = BackgroundTasks()
        self._acquiring = BackgroundTasks()
        self._returning = BackgroundTasks()

    def waiting(self) -> AbstractContextManager[None]:
        """For as long as a server is waited for: see `Primary.waiting`."""
        return nullcontext() if self._primary is None else self._primary.waiting()

    @asynccontextmanager
    async def taken(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """A connection, for one who has a turn.

        Args:
            engine: this one, with options of its own.

        Raises:
            StoreError: there was none.
        """
        with translated_errors(writing=False):
            connection = await self._acquire(engine)
        try:
            yield connection
        finally:
            await asyncio.shield(self._give_back(connection))

    async def _acquire(self, engine: AsyncEngine) -> AsyncConnection:
        # A cancelled caller must not interrupt the pool half-way: the connection would be lost, and left open.
        acquiring = self._acquiring.start(self._start(engine))
        try:
            return await asyncio.shield(acquiring)
        except asyncio.CancelledError:
            acquiring.add_done_callback(self._give_up)
            raise

    async def _start(self, engine: AsyncEngine) -> AsyncConnection:
        try:
            connection = await engine.connect()
        except InvalidRequestError:  # the pool's word after several that were not fit to be given out
            raise UnavailableError("PostgreSQL closes its connections as soon as they are made") from None
        except asyncio.CancelledError:
            if self.idle.is_closed:
                raise UnavailableError(_CLOSED) from None
            raise
        if self.idle.is_closed:
            await self._give_back(connection)
            raise UnavailableError(_CLOSED)
        return connection

    def _give_up(self, acquired: asyncio.Task[AsyncConnection]) -> None:
        if not acquired.cancelled() and acquired.exception() is None:
            self._give_back(acquired.result())

    def _give_back(self, connection: AsyncConnection) -> asyncio.Task[None]:
        # A task of its own: a rollback that is cancelled half-way would lose the connection, and leave it open.
        returning = self._returning.start(connection.close())
        returning.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # perhaps nobody asks
        return returning

    async def _new_connection(self, *arguments: Any, **options: Any) -> psycopg.AsyncConnection[Any]:
        return await self._making.start(self._make(*arguments, **options))

    async def _make(self, *arguments: Any, **options: Any) -> psycopg.AsyncConnection[Any]:
        try:
            if self._primary is not None:
                connection = await self._primary.connect(options, seconds=self.timeout)
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
            is_pooled = await settle(connection, self._milliseconds, is_pooled=self.idle.is_pooled)
            self.idle.is_pooled |= is_pooled
        except BaseException:
            await connection.close()
            raise
        return connection

    async def close(self) -> None:
        """Close every connection, also those that come back later, and give up those that are still being made."""
        self.idle.is_closed = True
        self._making.cancel()  # nothing past that: SQLAlchemy asks its first connection some questions, or forgets it
        primary = [self._primary.close] if self._primary is not None else []
        await end_all(*primary, self._until_returned, self.engine.dispose)

    async def _until_returned(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                while len(self._acquiring) or len(self._returning):  # one that was acquired is then returned
                    await self._acquiring.wait()
                    await self._returning.wait()


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


_HIDE_ROWS = _HideRows()
