"""Carrying out a statement and taking its answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection, sql

Statement = str | bytes | sql.Composed
Parameters = Mapping[str, Any] | Sequence[Any] | None


async def fetch_rows(
    connection: AsyncConnection, statement: Statement, parameters: Parameters = None
) -> list[tuple[Any, ...]]:
    """All rows."""
    return await (await connection.execute(statement, parameters)).fetchall()


async def fetch_row(
    connection: AsyncConnection, statement: Statement, parameters: Parameters = None
) -> tuple[Any, ...]:
    """The one row that the statement always gives."""
    (row,) = await fetch_rows(connection, statement, parameters)
    return row


async def fetch_value(connection: AsyncConnection, statement: Statement, parameters: Parameters = None) -> Any:
    """The first value of the first row; None where there is no row."""
    row = await (await connection.execute(statement, parameters)).fetchone()
    return row[0] if row else None
