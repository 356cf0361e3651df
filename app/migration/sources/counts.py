"""How many rows a source's table has, also where the source takes too long to count them."""

from app.errors import CountTimeoutError, StoreError
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import Source
from app.migration.tables.copy_table import CopyTable


async def known_count(source: Source, table: CopyTable) -> int | None:
    """The exact number of rows; None where the source takes too long to count them: the keys decide then."""
    try:
        return await source.count(table)
    except CountTimeoutError:
        return None


async def shown_count(source: Source, table: CopyTable) -> int:
    """A number of rows for a progress bar: the exact one, else about how many, else 0."""
    rows = await known_count(source, table)
    if rows is None and isinstance(source, RestSource):
        try:
            rows = await source.estimate(table)
        except StoreError:
            return 0
    return rows or 0


async def exact_count(source: Source, table: CopyTable) -> int:
    """The exact number of rows, by a listing of the keys where the source takes too long to count them.

    Raises:
        StoreError: it cannot be had.
    """
    try:
        return await source.count(table)
    except CountTimeoutError:
        if not isinstance(source, RestSource):
            raise
        return await source.listed_count(table)
