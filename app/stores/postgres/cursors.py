"""Cursors that put the names of a connection's schemas into its statements."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, ClassVar, Self

from psycopg import AsyncConnection, AsyncCopy, AsyncCursor, AsyncServerCursor, sql
from psycopg.pq import TransactionStatus

from app.common.schemas import Schemas


class NamedCursor(AsyncCursor[Any]):
    """Puts the names of its schemas into statements.

    It takes a percent sign in a name as one, where psycopg would look for a placeholder if there are parameters.
    """

    schemas: ClassVar[Schemas]

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        return await super().execute(self._ready(query, params), params, **options)

    async def executemany(self, query: Any, params_seq: Iterable[Any], *, returning: bool = False) -> None:
        await super().executemany(self._ready(query, ()), params_seq, returning=returning)

    @asynccontextmanager
    async def copy(self, statement: Any, params: Any = None, **options: Any) -> AsyncIterator[AsyncCopy]:
        try:
            async with super().copy(self._ready(statement, params), params, **options) as copy:
                yield copy
        finally:
            if is_amid_statement(self.connection):
                await self.connection.close()

    def _ready(self, query: Any, params: Any) -> str:
        if isinstance(query, sql.Composable):
            query = _escaped(query, params).as_string(self.connection)
        return _named(self.schemas, query)


class _ServerCursor(AsyncServerCursor[Any]):
    """Likewise, for rows that are fetched a few at a time."""

    schemas: ClassVar[Schemas]

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        return await super().execute(_named(self.schemas, query), params, **options)


def _named(schemas: Schemas, query: str | bytes) -> str:
    return schemas.named(query if isinstance(query, str) else query.decode())


@lru_cache(maxsize=1024)
def cursors_in(schemas: Schemas) -> tuple[type[AsyncCursor[Any]], type[AsyncServerCursor[Any]]]:
    """The two kinds of cursor of a connection whose statements mean these schemas."""
    own = {"schemas": schemas}
    return type("Cursor", (NamedCursor,), own), type("ServerCursor", (_ServerCursor,), own)


def turn_to(connection: AsyncConnection, schemas: Schemas) -> None:
    """Let the statements of a connection, which is at rest, mean other schemas from now on."""
    connection.cursor_factory, connection.server_cursor_factory = cursors_in(schemas)


def is_amid_statement(connection: AsyncConnection) -> bool:
    """Whether nothing can be sent any more, not even a rollback: only closing ends what the server is doing.

    psycopg leaves a connection so where a task is cancelled just as a COPY begins, too late for the server to be told.
    """
    return connection.pgconn.transaction_status == TransactionStatus.ACTIVE


def rendered(query: sql.Composed) -> str:
    """The text of a statement that is carried out several times, always with parameters."""
    text: str = _escaped(query, ()).as_string(None)
    return text


def _escaped(query: Any, params: Any) -> Any:
    if params is None or not isinstance(query, sql.Composed):
        return query
    return sql.Composed([_escaped_part(part, params) for part in query])


def _escaped_part(part: sql.Composable, params: Any) -> Any:
    if isinstance(part, (sql.Identifier, sql.Literal)) and "%" in (text := part.as_string(None)):
        return sql.SQL(text.replace("%", "%%"))
    return _escaped(part, params)
