"""A connection to read by through a transaction pooler: what it counts on is set in each transaction, for that alone.

A statement outside a transaction gets one of its own, which takes two round trips more. A transaction begins with its
settings in one message, so that no limit of another client's ends it between the two. What other clients of the pool
left in a server's process (a role, a search path, a style of dates) is not seen.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Self

import psycopg
from psycopg import AsyncConnection, AsyncCopy, AsyncCursor
from psycopg.pq import TransactionStatus

from app.common.schemas import Schemas
from app.stores.postgres.cursors import NamedCursor, is_amid_statement
from app.stores.postgres.keepalives import hang_up_waiting


class PooledReader(AsyncConnection[Any]):
    """Reads, in autocommit or in `transaction()`; one that may write says so with its first statement.

    Attributes:
        settings: statements that set what a transaction counts on; none may be a query, before which a snapshot that
            was exported is still to be taken.
    """

    settings = ""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._turn = asyncio.Lock()  # of a task that has a transaction
        self._task: asyncio.Task[Any] | None = None

    @asynccontextmanager
    async def transaction(self, savepoint_name: str | None = None, force_rollback: bool = False) -> AsyncIterator[Any]:
        async with AsyncExitStack() as begun:
            if not self._is_within():
                await begun.enter_async_context(self._turn)
            if self._is_idle():
                await begun.enter_async_context(self._begun("ROLLBACK" if force_rollback else "COMMIT"))
            else:
                await begun.enter_async_context(super().transaction(savepoint_name, force_rollback))
            yield None

    @asynccontextmanager
    async def for_statement(self) -> AsyncIterator[None]:
        """The transaction that was begun, or one of its own; both after those of other tasks."""
        if self._is_within():
            yield
            return
        async with self._turn:
            if not self._is_idle():
                yield
                return
            async with self._begun("COMMIT"):
                yield

    async def begin(self, statements: str) -> None:
        """Begin a transaction that all tasks are in, until ROLLBACK."""
        async with self._turn:
            await self._served(statements)

    def beginning(self, isolation: str = "READ COMMITTED") -> str:
        """What begins a transaction, whatever another client left as the default."""
        return f"BEGIN ISOLATION LEVEL {isolation} READ ONLY NOT DEFERRABLE; {self.settings}"

    def name_tables(self, schemas: Schemas) -> None:
        """Let statements mean the tables of these schemas."""
        self.cursor_factory = type("Cursor", (_Cursor,), {"schemas": schemas})

    @asynccontextmanager
    async def _begun(self, end: str) -> AsyncIterator[None]:
        own, self._task = AsyncCursor(self), asyncio.current_task()
        try:
            await self._served(self.beginning())
            yield
            await own.execute(end.encode())
        finally:
            try:
                await self._leave()
            finally:
                self._task = None

    async def _served(self, beginning: str) -> None:
        """Begin a transaction, once the pooler has a server process for it."""
        asking = asyncio.create_task(AsyncCursor(self).execute(beginning.encode()))
        try:
            await asyncio.wait([asking])
        finally:
            await hang_up_waiting(self, asking)
        asking.result()

    async def _leave(self) -> None:
        """End what is left of a transaction; a connection that cannot be at rest again is closed."""
        try:
            if not self._is_idle() and not is_amid_statement(self):
                with suppress(psycopg.Error):
                    await AsyncCursor(self).execute(b"ROLLBACK")
        finally:
            if not self._is_idle():
                await self.close()

    def _is_within(self) -> bool:
        """Whether this task has a transaction, or all have one."""
        return self._task is asyncio.current_task() if self._turn.locked() else not self._is_idle()

    def _is_idle(self) -> bool:
        return self.pgconn.transaction_status == TransactionStatus.IDLE


class _Cursor(NamedCursor):
    connection: PooledReader

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        async with self.connection.for_statement():
            return await super().execute(query, params, **options)

    async def executemany(self, query: Any, params_seq: Iterable[Any], *, returning: bool = False) -> None:
        async with self.connection.for_statement():
            await super().executemany(query, params_seq, returning=returning)

    @asynccontextmanager
    async def copy(self, statement: Any, params: Any = None, **options: Any) -> AsyncIterator[AsyncCopy]:
        async with self.connection.for_statement(), super().copy(statement, params, **options) as copy:
            yield copy
