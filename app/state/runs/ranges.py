"""Ranges: the key ranges of a large table that is copied over database connections."""

from collections.abc import Iterable

from psycopg import AsyncConnection

from app.common.keys import Key
from app.state.fetching import fetch_rows
from app.state.schema_name import SCHEMA


async def keep_ranges(
    connection: AsyncConnection, run: int, table: str, ranges: Iterable[tuple[int, Key | None, Key | None]]
) -> None:
    """Write a table's ranges down, in the caller's transaction.

    Args:
        ranges: of each its number, and the keys that it lies above and up to; None: no bound.
    """
    for number, low, high in ranges:
        await connection.execute(
            f"INSERT INTO {SCHEMA}.ranges (run_id, table_name, number, low, high) "
            "VALUES (%(run)s, %(table)s, %(number)s, %(low)s, %(high)s)",
            {
                "run": run,
                "table": table,
                "number": number,
                "low": list(low) if low else None,
                "high": list(high) if high else None,
            },
        )


async def open_ranges(connection: AsyncConnection, run: int, table: str) -> list[tuple[int, Key | None, Key | None]]:
    """The table's ranges that are not complete, as `keep_ranges` takes them."""
    rows = await fetch_rows(
        connection,
        f"SELECT number, low, high FROM {SCHEMA}.ranges WHERE run_id = %(run)s AND table_name = %(table)s "
        "AND NOT complete ORDER BY number",
        {"run": run, "table": table},
    )
    return [(number, tuple(low) if low else None, tuple(high) if high else None) for number, low, high in rows]


async def finish_range(connection: AsyncConnection, run: int, table: str, number: int, rows: int) -> None:
    """Mark a range complete, in the transaction that loaded it."""
    await connection.execute(
        f"UPDATE {SCHEMA}.ranges SET complete = true, rows = %(rows)s "
        "WHERE run_id = %(run)s AND table_name = %(table)s AND number = %(number)s",
        {"rows": rows, "run": run, "table": table, "number": number},
    )
