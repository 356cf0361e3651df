"""How many rows or keys there are, counted in the target, and keys that a query gives."""

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.migration.load import statements
from app.migration.tables.copy_table import CopyTable
from app.state.fetching import fetch_rows, fetch_value


async def count_target(connection: AsyncConnection, table: CopyTable) -> int:
    """Rows in the target's table."""
    return int(await fetch_value(connection, statements.count_rows(table)))


async def count_keys(connection: AsyncConnection, query: sql.Composed) -> int:
    """How many different keys (text[]) a query returns."""
    counted = sql.SQL("SELECT count(DISTINCT k.key) FROM ({}) k (key)").format(query)
    return int(await fetch_value(connection, counted))


async def select_keys(connection: AsyncConnection, query: str) -> set[Key]:
    """The keys (text[]) that a query returns."""
    return {tuple(row[0]) for row in await fetch_rows(connection, query)}
