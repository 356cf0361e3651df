"""Carrying out a statement and taking its answer."""

from collections.abc import Mapping
from typing import Any

from psycopg import AsyncConnection, sql


async def fetch_rows(
    connection: AsyncConnection, statement: str | sql.Composed, parameters: Mapping[str, Any] | None = None
) -> list[tuple[Any, ...]]:
    """All rows."""
    return await (await connection.execute(statement, parameters)).fetchall()


async def fetch_value(
    connection: AsyncConnection, statement: str | sql.Composed, parameters: Mapping[str, Any] | None = None
) -> Any:
    """The first value of the first row; None where there is no row."""
    row = await (await connection.execute(statement, parameters)).fetchone()
    return row[0] if row else None
