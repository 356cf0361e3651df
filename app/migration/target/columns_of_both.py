"""The columns of a table at both ends: which are of one type, and which a side makes by itself."""

from collections.abc import Collection
from dataclasses import replace

from psycopg import AsyncConnection, sql
from sqlalchemy import Table

from app.errors import AccessDeniedError
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import Source
from app.migration.tables.column_shapes import PARTS, Shape, shapes
from app.migration.tables.copy_table import CopyColumn, CopyTable
from app.migration.target.leftovers import LeftOut
from app.state.fetching import fetch_column, fetch_rows

_COLUMNS = sql.SQL(
    "SELECT attname, attgenerated <> '' FROM pg_attribute "
    "WHERE attrelid = to_regclass({}) AND attnum > 0 AND NOT attisdropped"
)


async def compared_table(
    connection: AsyncConnection, source: Source, table: CopyTable, model: Table
) -> tuple[CopyTable, tuple[LeftOut, ...]]:
    """The table with the columns that the target makes and the source has too; and the columns that are left out.

    Over REST a table without rows shows no column, and has no value that could differ.
    """
    theirs = await _source_columns(source, table)
    ours = set(await fetch_column(connection, _columns(table)))
    made = tuple(column for column in table.made if column.name in theirs)
    compared = replace(table, columns=table.columns + made, made=())
    names = set(compared.names)
    left = sorted((ours if theirs else ours - {column.name for column in table.made}) | theirs)
    return compared, tuple(LeftOut(one, _why(one, ours, theirs, model)) for one in left if one not in names)


def _why(name: str, ours: Collection[str], theirs: Collection[str], model: Table) -> str:
    if name not in ours:
        return "only the source has it"
    if name not in theirs and (theirs or name in model.columns):
        return "only the target has it"
    return "the models lack it"


async def without_made_by_source(source: Source, table: CopyTable, model: Table) -> CopyTable:
    """The table as it is written to the source: the columns that the source makes by itself are `made`, not written.

    Those that the target makes, and the source has, are either written or `made` too, to be compared. Over REST it does
    not show which those are. There they are taken to be those that the models compute, or the target makes.
    """
    if isinstance(source, PostgresSource):
        found = dict(await source.fetch(_columns(table)))
        made_there = {name for name, generated in found.items() if generated}
        added = tuple(column for column in table.made if found.get(column.name) is False)
    else:
        made_there = {column.name for column in model.columns if column.computed is not None}
        added = ()
    rest = table.columns[table.key_size :] + added
    columns = table.key + tuple(column for column in rest if column.name not in made_there)
    changed_at = None if table.changed_at in made_there else table.changed_at
    theirs = await _source_columns(source, table) if table.made else set()
    only_compared = [column for column in table.made if column.name in theirs and column not in added]
    made = (*(column for column in rest if column.name in made_there), *only_compared)
    return replace(table, columns=columns, made=made, changed_at=changed_at)


async def _source_columns(source: Source, table: CopyTable) -> set[str]:
    """Names of all columns of the source's table; none where it does not show them."""
    if isinstance(source, PostgresSource):
        return {name for name, _ in await source.fetch(_columns(table))}
    assert isinstance(source, RestSource)
    builder = source.rest.table(table.relation_name, table.schema).select("*").limit(1)
    try:
        rows = await source.patiently(lambda: source.rest.rows(builder))
    except AccessDeniedError:  # the role may not read every column
        return set()
    return set(rows[0]) if rows else set()


def _columns(table: CopyTable) -> sql.Composed:
    return _COLUMNS.format(sql.Literal(table.identifier.as_string(None)))


# Types whose number is the same in every PostgreSQL (src/include/access/transam.h: below FirstGenbkiObjectId), but for
# those whose binary form is the number of another object, or that have none. xml's binary form loses its declaration.
_BUILTIN = """
SELECT a.attname, a.atttypid::bigint FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type e ON e.typarray = t.oid
WHERE a.attrelid = to_regclass({}) AND a.attnum > 0 AND NOT a.attisdropped AND t.oid < 10000
AND coalesce(e.typname, t.typname) !~ '^(reg|pg_|aclitem|xml$)'
"""


async def same_types(source: PostgresSource, target: AsyncConnection, table: CopyTable) -> frozenset[str]:
    """Names of the columns whose type is the same builtin one in the source and in the target."""
    query = sql.SQL(_BUILTIN).format(sql.Literal(table.identifier.as_string(None)))
    theirs = set(await source.fetch(query))
    ours = set(await fetch_rows(target, query))
    return frozenset(name for name, _ in theirs & ours) & frozenset(table.names)


async def may_narrow(source: PostgresSource, table: CopyTable) -> bool:
    """Whether a value of the source may be shortened or rounded to fit its column of the target.

    A domain or a composite type that has a length or scale inside counts, since it may be another one in the source.
    """
    narrow = [column for column in table.columns if column.exact is not None]
    if not narrow:
        return False
    query = sql.SQL(PARTS).format(table=sql.Literal(table.identifier.as_string(None)))
    theirs: dict[str, Shape] = shapes(await source.fetch(query))
    return any(
        (there := theirs.get(column.name)) is None
        or (there.written, there.parts, there.exact) != (column.written, column.parts, column.exact)
        or not _is_plain(column)
        for column in narrow
    )


async def of_other_parts(source: Source, target: AsyncConnection, table: CopyTable) -> list[str]:
    """Names of the columns whose types may have other parts in the source than a type of that name has in the target.

    Over REST the parts of a type do not show.
    """
    opaque = [column.name for column in table.columns if column.opaque]
    if not opaque or not isinstance(source, PostgresSource):
        return opaque
    query = sql.SQL(PARTS).format(table=sql.Literal(table.identifier.as_string(None)))
    theirs, ours = set(await source.fetch(query)), set(await fetch_rows(target, query))
    differing = {part[0] for part in theirs ^ ours}
    return [name for name in opaque if name in differing]


def _is_plain(column: CopyColumn) -> bool:
    """Whether a type shows its own length, scale or fields, or is a builtin one that has one length everywhere."""
    return column.written != column.type or column.type.removesuffix("[]") in {"name", '"char"'}
