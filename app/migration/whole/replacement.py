"""Making the target's table like the source's, whole and in one transaction; rows that are equal stay as they are."""

from collections.abc import Callable
from dataclasses import dataclass

from psycopg import AsyncConnection, sql

from app.migration.load.bisection import number_column
from app.migration.load.contents import content
from app.migration.load.loader import load_staged
from app.migration.load.table_authority import Permit
from app.migration.runs.report import Loaded
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.tables.copy_table import CopyTable
from app.migration.target.interference import loading
from app.migration.whole.pairs import UNPAIRED, Unpaired, pair, staged
from app.state.runs import before_images, quarantine, writes

_ARRIVING = "arriving"


@dataclass(frozen=True, slots=True)
class Replaced:
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
) -> Replaced:
    """Read the source's table and replace the target's.

    Args:
        check: raises where so much must not be changed.

    Raises:
        MigrationError: too much would be changed, more rows were refused than `most_refused`, or the authority moved.
    """
    async with staged(connection, source, table) as staging, permit.held(connection, table.name) as confirm:
        await confirm()
        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        done = await replace_rows(connection, table, run, staging, most_refused=most_refused, check=check)
        await writes.record_writes(connection, run, table.name, done.loaded.transactions)
    return done


async def replace_rows(
    connection: AsyncConnection,
    table: CopyTable,
    run: int,
    staging: str,
    *,
    most_refused: int,
    check: Callable[[Unpaired], None] = lambda before: None,
) -> Replaced:
    """The same with rows that wait in a temporary table, in the caller's transaction, whose constraints are immediate.

    The rows that are refused now are the table's only ones in quarantine afterwards.
    """
    before = await pair(connection, table, staging)
    check(before)
    loaded = Loaded()
    async with loading(connection, run, table):
        kept = await _delete_extra(connection, table, run) if before.extra else 0
        if before.missing:
            await connection.execute(_arriving(table, staging))
            loaded = await load_staged(
                connection,
                table,
                run,
                most_refused=most_refused,
                staging=_ARRIVING,
                low=1,
                high=before.missing,
            )
    if before.missing:
        await connection.execute(sql.SQL("DROP TABLE pg_temp.{}").format(sql.Identifier(_ARRIVING)))
    await quarantine.leave_earlier(connection, table.name)
    after = await pair(connection, table, staging) if before.missing or before.extra else before
    # What is changed is a row that went and one that came: it counts once.
    loaded.updated = max(0, loaded.inserted - (before.missing - before.changed))
    loaded.inserted -= loaded.updated
    loaded.rows = before.source_rows
    unlike = after.missing - len(loaded.refused) + after.extra
    return Replaced(before, loaded, kept, unlike)


async def _delete_extra(connection: AsyncConnection, table: CopyTable, run: int) -> int:
    """Delete the target's rows that have no pair; returns how many of them nobody else has, and whose images stay."""
    here = sql.SQL(
        "{} t JOIN {} u ON t.tableoid = u.relation AND t.ctid = u.place WHERE t.xmin::text NOT IN {}"
    ).format(table.rows, UNPAIRED, writes.ours(table.name))
    key = sql.SQL("ARRAY[{}]").format(content(table, "t"))
    image = before_images.image(table.kept, "t")
    keep = before_images.keep_images(run, table.name, key=key, image=image, rows=here)
    kept = (await connection.execute(keep)).rowcount
    await connection.execute(
        sql.SQL("DELETE FROM {} t USING {} u WHERE t.tableoid = u.relation AND t.ctid = u.place").format(
            table.rows, UNPAIRED
        )
    )
    return kept


def _arriving(table: CopyTable, staging: str) -> sql.Composed:
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
        staging=sql.Identifier(staging),
        unpaired=UNPAIRED,
    )
