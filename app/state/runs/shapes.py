"""Shapes: what the catalogs of both ends said of a table's values when a sync last looked."""

from __future__ import annotations

from psycopg import AsyncConnection

from app.state.schema_name import SCHEMA


async def known_shapes(connection: AsyncConnection, table: str) -> tuple[str, str] | None:
    """What the source's catalog said, and what the target's did."""
    cursor = await connection.execute(
        f"SELECT source, target FROM {SCHEMA}.shapes WHERE table_name = %(table)s", {"table": table}
    )
    row = await cursor.fetchone()
    return (row[0], row[1]) if row else None


async def keep_shapes(connection: AsyncConnection, table: str, source: str, target: str) -> None:
    """Keep what they say now."""
    await connection.execute(
        f"INSERT INTO {SCHEMA}.shapes VALUES (%(table)s, %(source)s, %(target)s) ON CONFLICT (table_name) "
        "DO UPDATE SET source = excluded.source, target = excluded.target",
        {"table": table, "source": source, "target": target},
    )
