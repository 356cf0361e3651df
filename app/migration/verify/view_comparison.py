"""Comparing materialized views, which no copy brings over: each side makes its own rows."""

from collections.abc import Sequence
from dataclasses import replace

import psycopg
from psycopg import AsyncConnection, sql

from app.common.driver_errors import missing_right
from app.errors import AccessDeniedError, CountTimeoutError, SchemaMismatchError, StoreError, error_for_sqlstate
from app.migration.runs.report import ViewCompared
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Source
from app.migration.tables.copy_table import CopyColumn, CopyTable
from app.migration.target.materialized_views import MaterializedView, dependent_views
from app.migration.verify.by_hash.hashes import HashedTable, Range
from app.migration.verify.whole_comparison import whole_hashes

_COLUMNS = """
SELECT attname, format_type(atttypid, -1) FROM pg_attribute
WHERE attrelid = to_regclass({}) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_THERE = "SELECT relispopulated FROM pg_class WHERE oid = to_regclass({}) AND relkind IN ('m', 'v', 'r', 'p', 'f')"
_DEFINITION = "SELECT rtrim(pg_get_viewdef(to_regclass(%s)), '; ')"
_NOT_POPULATED = "55000"


async def compare_views(
    connection: AsyncConnection, source: Source, tables: Sequence[CopyTable]
) -> tuple[ViewCompared, ...]:
    """Compare those that are made of the tables and hold rows: over a connection by their rows, else by their count.

    The source's may be of another moment, since it was refreshed at another time. So where the two differ, the target's
    is held against the rows that its definition gives now: only where it differs from these, too, is it stale.
    """
    compared: list[ViewCompared] = []
    for view in await dependent_views(connection, tables):  # each after those that it is made of
        if view.populated:
            one = await _compare(connection, source, view)
            if one.by and not one.equal and not one.stale and any(before.stale for before in compared):
                one = replace(one, stale=True, why="a view that is refreshed before it is stale")
            compared.append(one)
    return tuple(compared)


async def _compare(connection: AsyncConnection, source: Source, view: MaterializedView) -> ViewCompared:
    columns = await (await connection.execute(_columns(view))).fetchall()
    table = _as_table(view, columns)
    if isinstance(source, PostgresSource):
        there = await source.fetch(sql.SQL(_THERE).format(sql.Literal(view.identifier.as_string(None))))
        if not there:
            return ViewCompared(view.name, why="the source has none of this name")
        if not there[0][0]:
            return ViewCompared(view.name, why="the source's was never filled")
        if {name for name, _ in await source.fetch(_columns(view))} != set(table.names):
            return ViewCompared(view.name, why="the source's has other columns")
        try:
            theirs, ours = await whole_hashes(connection, source, table)
        except AccessDeniedError:
            return ViewCompared(view.name, why="the source's role may not read it")
        done = ViewCompared(view.name, theirs.rows, ours.rows, by="rows", equal=theirs == ours)
        return done if done.equal else await _judged(connection, done, table)
    try:
        rows = await source.count(replace(table, key_size=1))
    except (CountTimeoutError, StoreError) as error:
        if isinstance(error, StoreError) and not _is_hidden(error):
            raise
        late = isinstance(error, CountTimeoutError)
        return ViewCompared(view.name, why="the API takes too long to count it" if late else "the API does not give it")
    ours = await _hash(connection, table, table.rows)
    done = ViewCompared(view.name, rows, ours.rows, by="count", equal=rows == ours.rows)
    return done if done.equal else await _judged(connection, done, table)


def _is_hidden(error: StoreError) -> bool:
    """Whether the API does not show the view, or it was never filled there."""
    return isinstance(error, SchemaMismatchError | AccessDeniedError) or error.sqlstate == _NOT_POPULATED


async def _judged(connection: AsyncConnection, compared: ViewCompared, table: CopyTable) -> ViewCompared:
    """Which of the two is stale, where the target's own definition can be asked."""
    cursor = await connection.execute(_DEFINITION, [compared.view])
    ((definition,),) = await cursor.fetchall()
    try:
        held = await _hash(connection, table, table.rows)
        fresh = await _hash(connection, table, sql.SQL("({}) AS fresh").format(sql.SQL(definition)))
    except psycopg.Error as error:
        if error.sqlstate is None or connection.closed or connection.broken:
            raise
        right = missing_right(error)
        said = error_for_sqlstate(error.sqlstate, detail=f" ({right})" if right else "")
        return replace(compared, stale=True, why=f"they differ, and its rows of now cannot be read: {said}")
    if fresh == held:
        return replace(compared, why="the target's is as its tables are now: the source's is of another moment")
    return replace(compared, stale=True, why="the target's is not as its tables are now")


async def _hash(connection: AsyncConnection, table: CopyTable, rows: sql.Composed) -> Range:
    hashed = HashedTable(table, frozenset())
    query = sql.SQL("SELECT count(*), coalesce(sum({}), 0) FROM {}").format(hashed.row_hash, rows)
    ((count, total),) = await (await connection.execute(query)).fetchall()
    return Range(count, total)


def _columns(view: MaterializedView) -> sql.Composed:
    return sql.SQL(_COLUMNS).format(sql.Literal(view.identifier.as_string(None)))


def _as_table(view: MaterializedView, columns: Sequence[tuple[str, str]]) -> CopyTable:
    described = tuple(CopyColumn(name, kind, phone=False) for name, kind in columns)
    return CopyTable(view.schema, view.relation, described, 0, always_identity=False, replaces_rows=False)
