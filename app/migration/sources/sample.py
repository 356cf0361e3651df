"""A sample of a table's rows, picked at random over all of it."""

import random

from psycopg import sql

from app.common.keys import Key
from app.migration.sources.pages import key_of, records_of
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import Source
from app.migration.tables.copy_table import CopyTable


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
