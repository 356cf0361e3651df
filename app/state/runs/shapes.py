"""Shapes: what the catalogs of both ends said of a table's values when a sync last looked."""

from psycopg import AsyncConnection

from app.state.fetching import fetch_rows
from app.state.runs import row_versions
from app.state.schema_name import SCHEMA


async def are_known(connection: AsyncConnection, table: str, source: str, target: str) -> bool:
    """Whether the catalogs said the same as now."""
    statement = f"SELECT source, target FROM {SCHEMA}.shapes WHERE table_name = %(table)s"
    return await fetch_rows(connection, statement, {"table": table}) == [(source, target)]


async def keep(connection: AsyncConnection, table: str, source: str, target: str) -> None:
    """Keep what they say now; the table's pairs of before tell nothing any more, and are dropped."""
    async with connection.transaction():
        await row_versions.forget_all(connection, table)
        await connection.execute(
            f"INSERT INTO {SCHEMA}.shapes VALUES (%(table)s, %(source)s, %(target)s) ON CONFLICT (table_name) "
            "DO UPDATE SET source = excluded.source, target = excluded.target",
            {"table": table, "source": source, "target": target},
        )
