"""Which columns have the same type on both ends, so that their values can go over in PostgreSQL's binary form."""

from __future__ import annotations

from psycopg import AsyncConnection, sql

from app.migration.postgres_source import PostgresSource
from app.migration.tables import CopyTable

# Types whose number is the same in every PostgreSQL (src/include/access/transam.h: below FirstGenbkiObjectId), but for
# those whose binary form is the number of another object, or that have none.
_BUILTIN = """
SELECT a.attname, a.atttypid::bigint FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type e ON e.typarray = t.oid
WHERE a.attrelid = to_regclass({}) AND a.attnum > 0 AND NOT a.attisdropped AND t.oid < 10000
AND coalesce(e.typname, t.typname) !~ '^(reg|pg_|aclitem)'
"""


async def same_types(source: PostgresSource, target: AsyncConnection, table: CopyTable) -> frozenset[str]:
    """Names of the columns whose type is the same builtin one in the source and in the target."""
    query = sql.SQL(_BUILTIN).format(sql.Literal(table.identifier.as_string(None)))
    theirs = set(await source.fetch(query))
    ours = set(await (await target.execute(query)).fetchall())
    return frozenset(name for name, _ in theirs & ours) & frozenset(table.names)
