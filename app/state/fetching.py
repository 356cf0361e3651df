"""Carrying out a statement and taking its answer."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from psycopg import AsyncCursor, sql

T = TypeVar("T")
Statement = str | bytes | sql.Composed
Parameters = Mapping[str, Any] | Sequence[Any] | None
# The rows of a query, from whichever side.
Fetch = Callable[[sql.Composed], Awaitable[list[tuple[Any, ...]]]]


class Connection(Protocol):
    """What carries statements out: a command's connection, or one of the bot's pool as `Statements`."""

    async def execute(self, query: Any, params: Any = None, /) -> AsyncCursor[Any]: ...


async def fetch_rows(
    connection: Connection, statement: Statement, parameters: Parameters = None
) -> list[tuple[Any, ...]]:
    """All rows."""
    return await (await connection.execute(statement, parameters)).fetchall()


def fetching(connection: Connection) -> Fetch:
    """What fetches the rows of a query over this connection."""
    return partial(fetch_rows, connection)


async def fetch_each(
    connection: Connection, make: Callable[..., T], statement: Statement, parameters: Parameters = None
) -> list[T]:
    """Of each row, what `make` gives for its values."""
    return [make(*row) for row in await fetch_rows(connection, statement, parameters)]


async def fetch_row(connection: Connection, statement: Statement, parameters: Parameters = None) -> tuple[Any, ...]:
    """The one row that the statement always gives."""
    (row,) = await fetch_rows(connection, statement, parameters)
    return row


async def fetch_column(connection: Connection, statement: Statement, parameters: Parameters = None) -> list[Any]:
    """The first value of each row."""
    return [row[0] for row in await fetch_rows(connection, statement, parameters)]


async def fetch_value(connection: Connection, statement: Statement, parameters: Parameters = None) -> Any:
    """The first value of the first row; None where there is no row."""
    row = await (await connection.execute(statement, parameters)).fetchone()
    return row[0] if row else None
