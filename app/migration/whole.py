"""Tables whose rows nothing tells apart: paired by what is in their rows, each as often as in the source, and replaced.

The target's table is made like the source's in one transaction; rows that are equal stay as they are.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from psycopg import AsyncConnection, sql

from app.migration.load.bisection import content, create_staging, number_column
from app.migration.load.loader import load_staged
from app.migration.load.table_authority import Permit
from app.migration.runs.report import Loaded
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.tables.copy_table import CopyTable
from app.migration.target.interference import loading
from app.migration.target.target_session import dropped_after
from app.state.fetching import fetch_row, fetch_rows
from app.state.runs import before_images, quarantine, writes

STAGING, _ARRIVING, _UNPAIRED = "whole_table", "arriving", "unpaired"
UNPAIRED = sql.Identifier("pg_temp", _UNPAIRED)


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
async def staged(connection: AsyncConnection, source: PostgresSource, table: CopyTable) -> AsyncIterator[int]:
    """The temporary table STAGING with all rows of the source, as text and numbered; outside of a transaction.

    Yields:
        How many rows there are.
    """
    own = await source.own(table)
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in table.names)
    names = sql.SQL(", ").join(map(sql.Identifier, table.names))

    async def begin() -> None:
        await connection.execute(create_staging(table, STAGING))

    async with dropped_after(connection, STAGING, _UNPAIRED):
        yield await source.pipe(
            sql.SQL("SELECT {} FROM {}").format(texts, own.rows),
            connection,
            sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier("pg_temp", STAGING), names),
            begin,
        )


async def pair(connection: AsyncConnection, table: CopyTable) -> Unpaired:
    """Pair the rows of STAGING with the target's.

    What has no pair is in the temporary table `unpaired` afterwards: of a row that waits its number, of a row of the
    target its place (relation and ctid), and of either its content's hash.
    """
    number, here = sql.Identifier(number_column(table)), sql.Identifier("pg_temp", STAGING)
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
            name=sql.Identifier(_UNPAIRED),
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


@dataclass(frozen=True, slots=True)
class TableReplaced:
    """What it came to.

    Attributes:
        before: what was not equal before.
        loaded: what was loaded; `rows` are all of the source's.
        kept: rows that were deleted, that no run had written, and whose images are in `botdata.replaced_rows`.
        unlike: rows that are not equal still, those in quarantine aside: a trigger, a rule or a type changes them.
    """

    before: Unpaired
    loaded: Loaded
    kept: int
    unlike: int


async def bring_whole(
    connection: AsyncConnection,
    source: PostgresSource,
    table: CopyTable,
    run: int,
    permit: Permit,
    *,
    most_refused: int,
    check: Callable[[Unpaired], None] = lambda before: None,
) -> TableReplaced:
    """Read the source's table and replace the target's.

    Args:
        check: raises where so much must not be changed.

    Raises:
        MigrationError: too much would be changed, more rows were refused than `most_refused`, or the authority moved.
    """
    async with staged(connection, source, table), permit.held(connection, table.name) as confirm:
        await confirm()
        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        done = await replace_rows(connection, table, run, step=permit.step, most_refused=most_refused, check=check)
        await writes.record_writes(connection, run, table.name, done.loaded.transactions)
    return done


async def replace_rows(
    connection: AsyncConnection,
    table: CopyTable,
    run: int,
    *,
    step: str,
    most_refused: int,
    check: Callable[[Unpaired], None] = lambda before: None,
) -> TableReplaced:
    """The same with rows that wait in STAGING, in the caller's transaction, whose constraints are immediate.

    The rows that are refused now are the table's only ones in quarantine afterwards.
    """
    before = await pair(connection, table)
    check(before)
    loaded = Loaded()
    async with loading(connection, run, table):
        kept = await _delete_extra(connection, table, run) if before.extra else 0
        if before.missing:
            await connection.execute(_arriving(table))
            loaded = await load_staged(
                connection,
                table,
                run,
                step=step,
                most_refused=most_refused,
                staging=_ARRIVING,
                rows=before.missing,
            )
    if before.missing:
        await connection.execute(sql.SQL("DROP TABLE pg_temp.{}").format(sql.Identifier(_ARRIVING)))
    await quarantine.leave_earlier(connection, table.name)
    after = await pair(connection, table) if before.missing or before.extra else before
    # What is changed is a row that went and one that came: it counts once.
    loaded.updated = max(0, loaded.inserted - (before.missing - before.changed))
    loaded.inserted -= loaded.updated
    loaded.rows = before.source_rows
    unlike = after.missing - len(loaded.refused) + after.extra
    return TableReplaced(before, loaded, kept, unlike)


async def _delete_extra(connection: AsyncConnection, table: CopyTable, run: int) -> int:
    """Delete the target's rows that have no pair; returns how many of them nobody else has, and whose images stay."""
    here = sql.SQL(
        "{} t JOIN {} u ON t.tableoid = u.relation AND t.ctid = u.place WHERE t.xmin::text NOT IN {}"
    ).format(table.rows, UNPAIRED, writes.ours(table.name))
    key = sql.SQL("ARRAY[{}]").format(content(table, "t"))
    image = before_images.image(table.kept)
    keep = before_images.keep_images(run, table.name, key=key, image=image, rows=here)
    kept = (await connection.execute(keep)).rowcount
    await connection.execute(
        sql.SQL("DELETE FROM {} t USING {} u WHERE t.tableoid = u.relation AND t.ctid = u.place").format(
            table.rows, UNPAIRED
        )
    )
    return kept


def _arriving(table: CopyTable) -> sql.Composed:
    """A temporary table with the waiting rows that have no pair, numbered from 1."""
    number = sql.Identifier(number_column(table))
    return sql.SQL(
        "CREATE TEMP TABLE {arriving} AS SELECT row_number() OVER (ORDER BY s.{number}) AS {number}, {names} "
        "FROM pg_temp.{staging} s JOIN {unpaired} u ON u.number = s.{number}; CREATE INDEX ON pg_temp.{arriving} "
        "({number})"
    ).format(
        arriving=sql.Identifier(_ARRIVING),
        number=number,
        names=sql.SQL(", ").join(sql.Identifier("s", name) for name in table.names),
        staging=sql.Identifier(STAGING),
        unpaired=UNPAIRED,
    )
