"""Table `table_authority`: which store the writers of a table write to that no method of the data layer writes."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import AsyncConnection

from app.cutover.stages import Store
from app.state.schema_name import SCHEMA


async def read_authorities(connection: AsyncConnection, tables: Iterable[str]) -> dict[str, Store]:
    """The authority of each of these tables; one whose writer was never moved has Supabase."""
    cursor = await connection.execute(f"SELECT table_name, authority FROM {SCHEMA}.table_authority")
    moved: dict[str, str] = dict(await cursor.fetchall())
    return {table: Store(moved.get(table, Store.SUPABASE)) for table in tables}


async def set_authority(connection: AsyncConnection, table: str, to: Store) -> None:
    """Keep which store the writers of a table write to from now on."""
    await connection.execute(
        f"INSERT INTO {SCHEMA}.table_authority (table_name, authority) VALUES (%(table)s, %(to)s) "
        "ON CONFLICT (table_name) DO UPDATE SET authority = excluded.authority, changed_at = clock_timestamp()",
        {"table": table, "to": to},
    )
