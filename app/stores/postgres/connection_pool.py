"""The pool of connections: how one is made, taken, asked whether it still lives, and given back.

psycopg_pool makes connections in the background: whoever waits for one learns neither at once nor why the server
refuses. A bot has to know both, since it has another store.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Sequence
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from app.common.background import BackgroundTasks, end_all
from app.common.driver_errors import without_values
from app.cutover.failover_mark import FailoverMark
from app.errors import UnavailableError
from app.stores.codec.text_values import register_loaders
from app.stores.postgres import keepalives
from app.stores.postgres.database_url import libpq_url, tls_advice, uses_pgbouncer
from app.stores.postgres.keepalives import KEEPALIVES, answers
from app.stores.postgres.poolers.pooled_connection import settle
from app.stores.postgres.primary import Primary
from app.stores.postgres.translated_errors import translated_errors

Driver = psycopg.AsyncConnection[Any]
_CLOSING_SECONDS = 2.0
_TRIES = 5  # to make a connection that the server does not close at once


@dataclass(slots=True, eq=False)
class PooledConnection:
    """A connection of a pool; moments are by the monotonic clock.

    Attributes:
        idle_since: when it was given back; infinite while nobody has used it.
    """

    driver: Driver
    made_at: float
    idle_since: float = inf

    @property
    def is_idle(self) -> bool:
        """Whether it is outside of any statement and transaction."""
        return self.driver.pgconn.transaction_status == TransactionStatus.IDLE


class ConnectionPool:
    """The connections to the servers of a URL. Arguments as of `Database`.

    Attributes:
        turns: one is taken before a connection, so that nobody who comes later gets one before those who wait.
        is_pooled: a pooler stands before the server, so connections that prepare statements are of no use.
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
        self.is_pooled = uses_pgbouncer(url)  # whatever the server greets with
        self._mark = mark
        self._primary = primary or Primary.of(url, mark)
        self._prepared_max = prepared_max
        self._milliseconds = max(1, int(statement_timeout * 1000))
        self._tls_advice = tls_advice(url)
        options: dict[str, Any] = {**KEEPALIVES, **conninfo_to_dict(libpq_url(url))}
        self._options = {**options, "connect_timeout": max(2, int(timeout))}
        self._idle: list[PooledConnection] = []
        self._making = BackgroundTasks()
        self._abandoned: list[asyncio.Task[PooledConnection]] = []  # being made for callers who were cancelled
        self._forgotten_since = 0.0  # what was idle already at that moment is forgotten by the network, too
        self._is_closed = False

    def waiting(self) -> AbstractContextManager[None]:
        """For as long as a server is waited for: see `Primary.waiting`."""
        return nullcontext() if self._primary is None else self._primary.waiting()

    async def take(self) -> PooledConnection:
        """A living connection, for one who has a turn.

        The one that was given back last is taken. Nothing is awaited for it, unless it was idle for long: then it is
        asked first.

        Raises:
            StoreError: none can be made.
        """
        while self._idle:
            idle = self._idle.pop()
            if self._is_stale(idle):
                idle.driver.pgconn.finish()
            elif monotonic() - idle.idle_since <= keepalives.ASK_AFTER or await self._answers(idle):
                return idle
        for _ in range(_TRIES):
            made = await self._made()
            if not self._is_stale(made):
                return made
            made.driver.pgconn.finish()
        raise UnavailableError("PostgreSQL closes its connections as soon as they are made")

    def put_back(self, connection: PooledConnection, *, broken: bool = False) -> None:
        """Return a connection, without waiting for anything; one that is broken or busy is dropped."""
        if broken or self._is_closed or not connection.is_idle:
            connection.driver.pgconn.finish()
        else:
            connection.idle_since = monotonic()
            self._idle.append(connection)

    async def close(self) -> None:
        """Close every connection, also those that come back later, and give up those that are still being made."""
        self._is_closed = True
        for idle in self._idle:
            idle.driver.pgconn.finish()
        self._idle.clear()
        primary = [self._primary.close] if self._primary is not None else []
        await end_all(*primary, lambda: self._making.end(_CLOSING_SECONDS))

    async def _answers(self, idle: PooledConnection) -> bool:
        asked = monotonic()
        is_there = False
        try:
            is_there = await answers(idle.driver)
        finally:
            if not is_there:  # also where the caller is cancelled meanwhile
                idle.driver.pgconn.finish()
        if not is_there:
            self._forgotten_since = asked
        return is_there

    def _is_stale(self, connection: PooledConnection) -> bool:
        driver = connection.driver
        if driver.closed or connection.idle_since < self._forgotten_since or connection.made_at < self._mark.risen_at:
            return True
        if self.is_pooled and driver.prepare_threshold is not None:
            return True  # made before that was known
        # An idle connection has nothing to read unless the server has said goodbye. No round trip, so it costs a few
        # microseconds where the usual ping costs a whole one.
        poll = select.poll()
        poll.register(driver.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    async def _made(self) -> PooledConnection:
        """A new connection. One whose caller is cancelled meanwhile is made all the same, for the next."""
        if self._is_closed:
            raise UnavailableError("the connections to PostgreSQL are closed")
        making = self._abandoned.pop() if self._abandoned else self._making.start(self._make())
        try:
            await asyncio.wait({making})
        except asyncio.CancelledError:
            self._abandoned.append(making)
            making.add_done_callback(self._keep_abandoned)
            raise
        if making.cancelled():
            raise UnavailableError("the connections to PostgreSQL are closed")
        with translated_errors(writing=False):
            return making.result()

    def _keep_abandoned(self, making: asyncio.Task[PooledConnection]) -> None:
        if making in self._abandoned:
            self._abandoned.remove(making)
            if not making.cancelled() and making.exception() is None:
                self.put_back(making.result())

    async def _make(self) -> PooledConnection:
        try:
            if self._primary is not None:
                connection = await self._primary.connect(self._options, seconds=self.timeout)
            else:
                connection = await psycopg.AsyncConnection.connect(**self._options)
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
            self.is_pooled |= await settle(connection, self._milliseconds, is_pooled=self.is_pooled)
        except BaseException:
            await connection.close()
            raise
        return PooledConnection(connection, made_at=monotonic())


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
