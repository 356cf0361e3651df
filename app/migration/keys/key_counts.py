"""How many rows or keys there are, counted in the target, and keys that a query gives."""

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.migration.load import statements
from app.migration.tables.copy_table import CopyTable


async def count_target(connection: AsyncConnection, table: CopyTable) -> int:
    """Rows in the target's table."""
    row = await (await connection.execute(statements.count_rows(table))).fetchone()
    assert row is not None
    return int(row[0])


async def count_keys(connection: AsyncConnection, query: sql.Composed) -> int:
    """How many different keys (text[]) a query returns."""
    counted = sql.SQL("SELECT count(DISTINCT k.key) FROM ({}) k (key)").format(query)
    ((count,),) = await (await connection.execute(counted)).fetchall()
    return int(count)


async def select_keys(connection: AsyncConnection, query: str) -> set[Key]:
    """The keys (text[]) that a query returns."""
    cursor = await connection.execute(query)
    return {tuple(row[0]) for row in await cursor.fetchall()}
