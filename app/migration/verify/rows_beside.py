"""Rows that the target's triggers and rules add to the tables of a run, or take from them, beside what is written.

A table is compared with the source when its own rows have been written. A trigger of a table that comes later may write
to it after that.
"""

from collections.abc import Sequence

from psycopg import AsyncConnection

from app.migration.keys.key_listing import (
    count_keys,
    count_target,
    extra_keys,
    missing_keys,
    require_whole,
    source_keys,
)
from app.migration.sources.source import Source
from app.migration.tables.copy_table import CopyTable
from app.migration.target.interference import Interference, find_firing
from app.state.runs import quarantine


async def find_writers(connection: AsyncConnection, tables: Sequence[CopyTable]) -> list[Interference]:
    """The triggers and rules that may write to other tables when this program inserts or deletes rows."""
    found = await find_firing(connection, tables)
    return [one for one in found if one.kind == "RULE" or one.events & {"insert", "delete"}]


async def counts_of(connection: AsyncConnection, tables: Sequence[CopyTable]) -> dict[str, int]:
    """How many rows each table of the target holds."""
    return {table.name: await count_target(connection, table) for table in tables}


async def rows_beside(connection: AsyncConnection, source: Source, table: CopyTable, more: int) -> int:
    """How many rows the target holds that the source does not, or (where it holds fewer) the other way round.

    A mirror may write too, and so the number alone proves nothing: what it wrote is in the source as well.

    Args:
        more: how many rows more the target holds than were left there; negative where it holds fewer.
    """
    async with source_keys(connection, source, table) as listing:
        require_whole(listing, source, table, step="sync", pending="to look at what triggers and rules wrote")
        query = extra_keys(table) if more > 0 else missing_keys(table)
        return min(await count_keys(connection, quarantine.not_refused(table.name, query)), abs(more))
