"""Reads a page of the source's rows in the target, where one of them may hold a text that its column's type refuses."""

import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg
from psycopg import AsyncConnection

from app.errors import UnavailableError
from app.migration.target.target_session import is_row_fault

T = TypeVar("T")


async def read_page(
    connection: AsyncConnection,
    body: bytes,
    as_typed: Callable[[bytes], Awaitable[T]],
    as_text: Callable[[bytes], Awaitable[T]],
) -> list[T]:
    """What the parts of a page gave, in its order: halves of halves, where a row of it is refused.

    Args:
        as_typed: reads rows by the types of their columns; nothing is left of it where it is refused.
        as_text: reads the row that is refused.

    Raises:
        psycopg.Error: the target failed.
        UnavailableError: the page is not whole JSON.
    """
    try:
        async with connection.transaction():  # the caller's own goes on
            return [await as_typed(body)]
    except psycopg.Error as error:
        if not is_row_fault(error):
            raise
    try:
        records = json.loads(body)
    except ValueError as error:
        raise UnavailableError("a page from the source is not whole JSON") from error
    if len(records) == 1:
        return [await as_text(body)]
    middle = len(records) // 2
    halves = [json.dumps(half).encode() for half in (records[:middle], records[middle:])]
    return [part for half in halves for part in await read_page(connection, half, as_typed, as_text)]
