"""Key ranges: a large table is read in pieces, each of them loaded in one transaction and then never read again."""

from typing import NamedTuple

from psycopg import sql

from app.common.keys import Key
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.tables.copy_table import CopyTable
from app.stores.supabase.grammar import alias


class KeyRange(NamedTuple):
    """The keys above `low`, up to and including `high`, in the source's own order; None: no bound on that side."""

    number: int
    low: Key | None
    high: Key | None

    def condition(self, table: CopyTable) -> sql.Composed:
        """The WHERE clause. Its texts have no type: PostgreSQL takes each as one of its column's."""
        key = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.key)
        bounds = [
            sql.SQL("({}) {} ({})").format(key, sql.SQL(operator), sql.SQL(", ").join(map(sql.Literal, bound)))
            for operator, bound in ((">", self.low), ("<=", self.high))
            if bound is not None
        ]
        return sql.SQL(" WHERE {}").format(sql.SQL(" AND ").join(bounds)) if bounds else sql.SQL("").format()


async def plan_ranges(
    source: PostgresSource, table: CopyTable, count: int, *, most_rows: int, most_bytes: int
) -> list[KeyRange]:
    """Cut a table into ranges of about so many rows or bytes, whichever is less: one scan of its key's index.

    A table without a key is one range.

    Args:
        count: the table's rows.
    """
    if not table.key:
        return [KeyRange(1, None, None)]
    size = sql.SQL("SELECT coalesce(pg_table_size(to_regclass({})), 0)").format(
        sql.Literal(table.identifier.as_string(None))
    )
    ((table_bytes,),) = await source.fetch(size)
    rows = max(1, min(most_rows, most_bytes * count // table_bytes if table_bytes else most_rows))
    bounds: list[Key | None] = [None]
    while len(bounds) < -(-count // rows):
        bound = await _key_behind(source, table, KeyRange(len(bounds), bounds[-1], None), rows)
        if bound is None:
            break
        bounds.append(bound)
    return [
        KeyRange(number, low, high)
        for number, (low, high) in enumerate(zip(bounds, [*bounds[1:], None], strict=True), start=1)
    ]


async def _key_behind(source: PostgresSource, table: CopyTable, rest: KeyRange, rows: int) -> Key | None:
    """The key of the last of the first so many rows; None where there are fewer, as in a view with a key twice."""
    own = await source.own(table)
    texts = (
        sql.SQL("{}::text AS {}").format(sql.Identifier(column.name), sql.Identifier(alias(position)))
        for position, column in enumerate(table.key)
    )
    found = await source.fetch(
        sql.SQL("SELECT {} FROM {}{} ORDER BY {} LIMIT 1 OFFSET {}").format(
            sql.SQL(", ").join(texts),
            own.rows,
            rest.condition(table),
            sql.SQL(", ").join(sql.Identifier(column.name) for column in table.key),
            sql.Literal(rows - 1),
        )
    )
    return tuple(found[0]) if found else None
