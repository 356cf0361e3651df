"""The idle connections of the engine's pool: which of them can be used, and how a read takes one at little cost.

A read that goes through SQLAlchemy's asynchronous engine costs 260 microseconds on a server that is near. One that
takes an idle connection and speaks to its driver alone costs 100. So `take` calls the synchronous pool under the
engine, which needs no greenlet while it waits for nothing. SQLAlchemy does not document that, nor that the error of a
`do_connect` listener reaches the caller. Both are relied on here alone.
"""

import select
from collections.abc import Mapping
from math import inf
from time import monotonic
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from app.cutover.failover_mark import FailoverMark
from app.stores.postgres import keepalives
from app.stores.postgres.keepalives import answers
from app.stores.postgres.poolers.pooled_connection import ANOTHERS_SESSION

Driver = psycopg.AsyncConnection[Any]

# In a pooled connection's info, by the monotonic clock.
_MADE = "botdata_made"
_SINCE = "botdata_idle_since"


class _NoneIsIdleError(Exception):
    """The pool would have to make a connection."""


class IdleConnections:
    """Those of one engine, whose pool neither resets nor asks a connection by itself.

    Args:
        mark: what this process has seen of failovers; no connection from before the last one is used again.

    Attributes:
        is_pooled: a pooler stands before the server, so connections that prepare statements are of no use.
        is_closed: the pool is closed, so what comes back to it is closed too.
    """

    def __init__(self, engine: AsyncEngine, mark: FailoverMark, *, is_pooled: bool) -> None:
        self.is_pooled = is_pooled
        self.is_closed = False
        self._mark = mark
        self._engine = engine.sync_engine
        self._forgotten_since = 0.0  # by the monotonic clock: what was idle already is forgotten by the network, too
        self._is_taking = False
        event.listen(self._engine, "connect", _keep_moment)
        event.listen(self._engine, "checkout", self._check_out)
        event.listen(self._engine, "checkin", self._check_in)
        event.listen(self._engine, "do_connect", self._refuse_to_connect)
        event.listen(self._engine, "handle_error", self._hear_of_error)

    async def take(self) -> PoolProxiedConnection | None:
        """A living connection, taken out of the pool; None where one must be made first.

        One that was idle for long is asked first. Nothing is awaited for any other.
        """
        while (idle := self._take()) is not None and _was_idle_for_long(idle.info):
            driver: Any = idle.driver_connection
            is_there = False
            try:
                is_there = await self._answers(driver)
            finally:
                if not is_there:  # also where the caller is cancelled meanwhile
                    self.put_back(idle, broken=True)
            if is_there:
                break
        return idle

    def put_back(self, idle: PoolProxiedConnection, *, broken: bool = False) -> None:
        """Return a connection to the pool without waiting for anything; one that is broken or busy is dropped."""
        driver = idle.driver_connection
        if driver is not None and (broken or self.is_closed or not _is_idle(driver)):
            driver.pgconn.finish()
            idle.detach()
        idle.close()

    def _take(self) -> PoolProxiedConnection | None:
        pool = self._engine.pool
        self._is_taking = True
        try:
            while pool.checkedin():  # type: ignore[attr-defined]
                idle = pool.connect()
                if not self._is_stale(idle.driver_connection, idle.info):
                    return idle
                self.put_back(idle, broken=True)
        except _NoneIsIdleError:  # the place in the pool is free, and its connection gone
            return None
        finally:
            self._is_taking = False
        return None

    async def _answers(self, driver: Driver) -> bool:
        asked = monotonic()
        if await answers(driver):
            return True
        self._forgotten_since = asked
        return False

    def _is_stale(self, driver: Driver | None, info: Mapping[Any, Any]) -> bool:
        # An idle connection has nothing to read unless the server has said goodbye. No round trip, so it costs a few
        # microseconds where the usual ping costs a whole one.
        if driver is None or driver.closed or info.get(_SINCE, inf) < self._forgotten_since:
            return True
        if info.get(_MADE, inf) < self._mark.risen_at:
            return True
        if self.is_pooled and driver.prepare_threshold is not None:
            return True  # made before that was known
        poll = select.poll()
        poll.register(driver.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _refuse_to_connect(self, *_: object) -> None:
        if self._is_taking:
            raise _NoneIsIdleError

    def _check_out(self, dbapi_connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        if self._is_taking:
            return
        driver = dbapi_connection.driver_connection
        if self._is_stale(driver, record.info) or (
            _was_idle_for_long(record.info) and not dbapi_connection.run_async(self._answers)
        ):
            raise DisconnectionError("the server has closed this connection")  # the pool makes a new one
        if driver.autocommit:
            dbapi_connection.autocommit = False

    def _check_in(self, dbapi_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        # Whatever happened, no transaction is left open.
        if dbapi_connection is not None and (self.is_closed or not _is_idle(dbapi_connection.driver_connection)):
            record.invalidate()
        else:
            record.info[_SINCE] = monotonic()

    def _hear_of_error(self, context: ExceptionContext) -> None:
        # Each connection is looked at when it is taken; that one was lost says nothing of the others.
        context.invalidate_pool_on_disconnect = False
        if isinstance(context.original_exception, ANOTHERS_SESSION):
            self.is_pooled = True
            context.is_disconnect = True


def _keep_moment(_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    record.info[_MADE] = monotonic()


def _was_idle_for_long(info: Mapping[Any, Any]) -> bool:
    now = monotonic()
    return bool(now - info.get(_SINCE, now) > keepalives.ASK_AFTER)


def _is_idle(driver: Driver) -> bool:
    return driver.pgconn.transaction_status == TransactionStatus.IDLE
