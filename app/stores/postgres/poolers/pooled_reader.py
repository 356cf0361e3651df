"""A connection to read by through a transaction pooler: what it counts on is set in each transaction, for that alone.

A statement outside a transaction gets one of its own, which takes three round trips more. What other clients of the
pool left in a server's process (a role, a search path, a style of dates) is not seen.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

from psycopg import AsyncConnection, AsyncCopy, AsyncCursor, AsyncTransaction, IsolationLevel
from psycopg.pq import TransactionStatus

from app.common.schemas import Schemas
from app.stores.postgres.cursors import NamedCursor


class PooledReader(AsyncConnection[Any]):
    """Reads, in autocommit or in `transaction()`; one that may write says so with its first statement.

    Attributes:
        settings: statements that set what a transaction counts on; none may be a query, before which a snapshot that
            was exported is still to be taken.
    """

    settings = ""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._turn = asyncio.Lock()  # of tasks that begin a transaction

    @asynccontextmanager
    async def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> AsyncIterator[AsyncTransaction]:
        async with AsyncExitStack() as begun:
            async with self._turn:
                is_outer = self._is_idle()
                transaction = await begun.enter_async_context(super().transaction(savepoint_name, force_rollback))
                if is_outer:
                    await self._set()
            yield transaction

    @asynccontextmanager
    async def for_statement(self) -> AsyncIterator[None]:
        """The transaction that was begun, or one of its own, which other tasks' statements wait for."""
        if not self._is_idle() and not self._turn.locked():
            yield
            return
        async with self._turn:
            if not self._is_idle():
                yield
                return
            async with super().transaction():
                await self._set()
                yield

    async def begin_by_default(self, schemas: Schemas) -> None:
        """Let each transaction be one that reads what is committed, whatever another client left as the default."""
        await self.set_isolation_level(IsolationLevel.READ_COMMITTED)
        await self.set_read_only(True)
        await self.set_deferrable(False)
        self.cursor_factory = type("Cursor", (_Cursor,), {"schemas": schemas})

    async def _set(self) -> None:
        if self.settings:
            await AsyncCursor(self).execute(self.settings.encode())

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
