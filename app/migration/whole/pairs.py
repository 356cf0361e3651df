"""Rows of a table without a key, paired by what is in them: each is to be there as often as in the source."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from psycopg import AsyncConnection, sql

from app.migration.load.bisection import create_staging, number_column
from app.migration.load.contents import content
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.tables.copy_table import CopyTable
from app.state.fetching import fetch_row, fetch_rows, fetch_value

_STAGING = "whole_table"
UNPAIRED = sql.Identifier("pg_temp", "unpaired")


@dataclass(frozen=True, slots=True)
class Unpaired:
    """How many rows one side has more of than the other.

    Attributes:
        source_rows, target_rows: all rows of either side.
        missing: in the source.
        extra: in the target.
    """

    source_rows: int
    target_rows: int
    missing: int = 0
    extra: int = 0

    @property
    def changed(self) -> int:
        """Rows that another one may stand for: what is missing and what is extra, one for one."""
        return min(self.missing, self.extra)


@asynccontextmanager
async def staged(connection: AsyncConnection, source: PostgresSource, table: CopyTable) -> AsyncIterator[str]:
    """The name of a temporary table with all rows of the source, as text and numbered; outside of a transaction."""
    own = await source.own(table)
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in table.names)
    here = sql.Identifier("pg_temp", _STAGING)
    names = sql.SQL(", ").join(map(sql.Identifier, table.names))

    async def begin() -> None:
        await connection.execute(create_staging(table, _STAGING))

    try:
        await source.pipe(
            sql.SQL("SELECT {} FROM {}").format(texts, own.rows),
            connection,
            sql.SQL("COPY {} ({}) FROM STDIN").format(here, names),
            begin,
        )
        yield _STAGING
    finally:
        if not connection.broken and not connection.closed:
            await connection.execute(sql.SQL("DROP TABLE IF EXISTS {}, {}").format(here, UNPAIRED))


async def count_staged(connection: AsyncConnection, staging: str) -> int:
    """How many rows wait in a temporary table."""
    query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("pg_temp", staging))
    return int(await fetch_value(connection, query))


async def pair(connection: AsyncConnection, table: CopyTable, staging: str) -> Unpaired:
    """Pair the rows of a temporary table with the target's.

    What has no pair is in the temporary table `unpaired` afterwards: of a row that waits its number, of a row of the
    target its place (relation and ctid), and of either its content's hash.
    """
    number, here = sql.Identifier(number_column(table)), sql.Identifier("pg_temp", staging)
    await connection.execute(
        sql.SQL(
            "DROP TABLE IF EXISTS {unpaired}; CREATE TEMP TABLE {name} AS "
            "SELECT coalesce(s.content, t.content) AS content, s.number, t.relation, t.place FROM "
            "(SELECT *, row_number() OVER (PARTITION BY content) AS nth FROM "
            "(SELECT {waiting} AS content, s.{number} AS number FROM {staging} s) s) s FULL JOIN "
            "(SELECT *, row_number() OVER (PARTITION BY content) AS nth FROM "
            "(SELECT {held} AS content, t.tableoid AS relation, t.ctid AS place FROM {table} t) t) t "
            "ON s.content = t.content AND s.nth = t.nth WHERE s.number IS NULL OR t.place IS NULL"
        ).format(
            unpaired=UNPAIRED,
            name=sql.Identifier("unpaired"),
            waiting=content(table, "s"),
            number=number,
            staging=here,
            held=content(table, "t"),
            table=table.rows,
        )
    )
    counted = sql.SQL(
        "SELECT (SELECT count(*) FROM {}), (SELECT count(*) FROM {}), count(number), count(place) FROM {}"
    ).format(here, table.rows, UNPAIRED)
    return Unpaired(*await fetch_row(connection, counted))


async def contents(connection: AsyncConnection, *, waiting: bool, most: int) -> list[tuple[str, int]]:
    """The contents' hashes of the rows without a pair, and how many there are of each.

    Args:
        waiting: of those that the target lacks; False: of those that it has.
        most: contents at most.
    """
    query = sql.SQL(
        "SELECT content, count(*) FROM {} WHERE (number IS NOT NULL) = {} GROUP BY 1 ORDER BY 1 LIMIT {}"
    ).format(UNPAIRED, sql.Literal(waiting), sql.Literal(most))
    return await fetch_rows(connection, query)


async def count_missing(connection: AsyncConnection, chosen: Mapping[str, int]) -> int:
    """How many of the rows that the target lacks have these contents, of each so many at most."""
    query = sql.SQL("SELECT content, count(*) FROM {} WHERE number IS NOT NULL AND content = ANY (%s) GROUP BY 1")
    rows = await fetch_rows(connection, query.format(UNPAIRED), [list(chosen)])
    return sum(min(count, chosen[content]) for content, count in rows)
