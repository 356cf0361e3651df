"""Rows that the target's triggers and rules add to the tables of a run, or take from them, beside what is written.

A table is compared with the source when its own rows have been written. A trigger of a table that comes later may write
to it after that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg import AsyncConnection

from app.migration.completeness import count_target
from app.migration.interference import Interference, find_interference
from app.migration.tables import CopyTable


async def find_writers(connection: AsyncConnection, tables: Sequence[CopyTable]) -> list[Interference]:
    """The triggers and rules that may write to other tables when rows are inserted or deleted."""
    found = await find_interference(connection, *(table.identifier.as_string(None) for table in tables))
    return [one for one in found if one.kind == "RULE" or one.events & {"insert", "delete"}]


async def rows_beside(
    connection: AsyncConnection, tables: Sequence[CopyTable], expected: Mapping[str, int]
) -> dict[str, int]:
    """How many rows more (or, negative, fewer) than expected the tables hold, for those where it is not none."""
    beside = {table.name: await count_target(connection, table) - expected[table.name] for table in tables}
    return {name: rows for name, rows in beside.items() if rows}


def in_words(rows: int, writers: Sequence[Interference]) -> str:
    """Of a table that holds more or fewer rows than were left there."""
    more = "more" if rows > 0 else "fewer"
    return f"it holds {abs(rows):,} rows {more} than were left there, after {', '.join(map(str, writers))} ran"
