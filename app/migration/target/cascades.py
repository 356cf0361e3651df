"""Foreign keys by which the deletion of a row deletes or changes the rows that refer to it."""

from psycopg import AsyncConnection, sql

from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Source
from app.migration.tables.copy_table import CopyTable

# pg_constraint.confdeltype: c cascade, n set null, d set default.
_CASCADES = """
SELECT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confdeltype IN ('c', 'n', 'd')
    AND confrelid = to_regclass({}))
"""


async def has_cascades(connection: AsyncConnection, source: Source, table: CopyTable) -> bool:
    """Whether one leads to the table, at either end; over REST only the target's are seen."""
    query = sql.SQL(_CASCADES).format(sql.Literal(table.identifier.as_string(None)))
    found = await (await connection.execute(query)).fetchone()
    if isinstance(source, PostgresSource) and not (found and found[0]):
        ((there,),) = await source.fetch(query)
        return bool(there)
    return bool(found and found[0])
