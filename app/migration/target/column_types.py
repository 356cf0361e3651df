"""Which columns are the same on both ends: what goes over as it is, and what only in PostgreSQL's binary form."""

from psycopg import AsyncConnection, sql

from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Source
from app.migration.tables.column_shapes import PARTS, Shape, shapes
from app.migration.tables.copy_table import CopyColumn, CopyTable

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
    ours = set(await (await target.execute(query)).fetchall())
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
    theirs, ours = set(await source.fetch(query)), set(await (await target.execute(query)).fetchall())
    differing = {part[0] for part in theirs ^ ours}
    return [name for name in opaque if name in differing]


def _is_plain(column: CopyColumn) -> bool:
    """Whether a type shows its own length, scale or fields, or is a builtin one that has one length everywhere."""
    return column.written != column.type or column.type.removesuffix("[]") in {"name", '"char"'}
