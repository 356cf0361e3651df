"""What each kind of source is asked in its own way: how many rows a table has, and a sample of its keys."""

import random

from psycopg import sql

from app.common.keys import Key
from app.errors import CountTimeoutError, StoreError
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import Source, key_of, records_of
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


async def pick_keys(source: Source, table: CopyTable, wanted: int) -> list[Key]:
    """The keys of `wanted` rows, each row being as likely as any other; of all rows where there are fewer."""
    if isinstance(source, PostgresSource):
        key = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column.name)) for column in table.key)
        query = sql.SQL("SELECT {} FROM {} ORDER BY random() LIMIT {}").format(
            key, (await source.own(table)).rows, sql.Literal(wanted)
        )
        return sorted(map(tuple, await source.fetch(query)))
    assert isinstance(source, RestSource)
    picked: list[Key] = []
    seen = 0
    chance = random.Random()  # noqa: S311 - nothing secret depends on it
    async for page in source.key_pages(table):
        for record in records_of(page.body):
            seen += 1
            if len(picked) < wanted:
                picked.append(key_of(record, table))
            elif (place := chance.randrange(seen)) < wanted:
                picked[place] = key_of(record, table)
    return sorted(set(picked))
