"""The end of a copy: sequences, views and indexes are made usable, or named with the statement that does it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from psycopg import AsyncConnection, sql

from app.migration.sources.source import Progress, Source
from app.migration.tables.copy_table import CopyTable, named
from app.migration.target.followed_sequences import follow_source
from app.migration.target.leftovers import Unusable
from app.migration.target.materialized_views import refresh
from app.state.fetching import fetch_column

# An index of a partitioned table is not valid while one of its parts lacks it: what to do then is the owner's.
_INVALID_INDEXES = """
SELECT format('%%I.%%I', n.nspname, i.relname) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_namespace n ON n.oid = i.relnamespace
WHERE x.indrelid IN (SELECT to_regclass(name) FROM unnest(%s::text[]) name) AND NOT x.indisvalid AND i.relkind = 'i'
ORDER BY 1
"""


async def make_usable(
    connection: AsyncConnection, source: Source, tables: Sequence[CopyTable], progress: Progress, *, written: bool
) -> tuple[tuple[Unusable, ...], tuple[str, ...]]:
    """Set the sequences as far as the source's, and refresh the materialized views.

    Args:
        written: rows were written, so that materialized views that hold rows are stale.

    Returns:
        What is not usable, and sentences about what could not be seen.
    """
    sequences, not_seen = await follow_source(connection, source, tables)
    views = await refresh(connection, tables, progress, stale=written)
    indexes = await _invalid_indexes(connection, tables)
    return (*sequences, *views, *indexes), tuple(not_seen)


async def analyze(connection: AsyncConnection, table: CopyTable) -> None:
    """Have the planner learn a table: what it plans without is slow. Where the role may not, the server only warns."""
    await connection.execute(sql.SQL("ANALYZE {}").format(table.identifier))


@asynccontextmanager
async def analyzing(connection: AsyncConnection, table: CopyTable) -> AsyncIterator[None]:
    """The same while something else is done, in a session that has nothing else to do."""
    learning = asyncio.create_task(analyze(connection, table))
    try:
        yield
        await learning
    finally:
        learning.cancel()
        await asyncio.gather(learning, return_exceptions=True)


async def _invalid_indexes(connection: AsyncConnection, tables: Sequence[CopyTable]) -> list[Unusable]:
    names = [named(connection, table.identifier) for table in tables]
    return [
        Unusable(f"index {name}", "it was never finished, so that no query uses it", f"REINDEX INDEX {name}")
        for name in await fetch_column(connection, _INVALID_INDEXES, [names])
    ]
