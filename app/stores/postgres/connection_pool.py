"""The pool of connections: how one is made, and taken and given back so that no cancelled caller loses it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from typing import Any

import psycopg
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

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
        self.idle = IdleConnections(self.engine, mark, is_pooled=uses_pgbouncer(url))  # whatever the server greets with
        self._making = BackgroundTasks()
        self._adding = BackgroundTasks()

    def waiting(self) -> AbstractContextManager[None]:
        """For as long as a server is waited for: see `Primary.waiting`."""
        return nullcontext() if self._primary is None else self._primary.waiting()

    async def add(self) -> None:
        """Make a connection, which is idle then; for one who has a turn.

        Raises:
            StoreError: none can be made.
        """
        # A cancelled caller must not interrupt SQLAlchemy half-way: it would lose the connection, and leave it open.
        adding = self._adding.start(self._add())
        adding.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # perhaps nobody asks
        with translated_errors(writing=False):
            await asyncio.shield(adding)

    async def _add(self) -> None:
        try:
            async with self.engine.connect():
                pass
        except InvalidRequestError:  # the pool's word after several that were not fit to be given out
            raise UnavailableError("PostgreSQL closes its connections as soon as they are made") from None
        except asyncio.CancelledError:
            if not self.idle.is_closed:
                raise
        if self.idle.is_closed:
            raise UnavailableError("the connections to PostgreSQL are closed")

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
        await end_all(*primary, lambda: self._adding.wait(_CLOSING_SECONDS), self.engine.dispose)


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
