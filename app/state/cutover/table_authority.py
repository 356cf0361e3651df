"""Table `table_authority`: which store the writers of a table write to that no method of the data layer writes."""

from collections.abc import Iterable
from typing import Any

from psycopg import AsyncConnection

from app.cutover.stages import Store
from app.state.fetching import fetch_row, fetch_rows
from app.state.schema_name import SCHEMA


async def read_authorities(connection: AsyncConnection, tables: Iterable[str]) -> dict[str, Store]:
    """The authority of each of these tables; one whose writer was never moved has Supabase."""
    moved = dict(await fetch_rows(connection, f"SELECT table_name, authority FROM {SCHEMA}.table_authority"))
    return {table: Store(moved.get(table, Store.SUPABASE)) for table in tables}


async def set_authority(connection: AsyncConnection, table: str, to: Store) -> None:
    """Keep which store the writers of a table write to from now on."""
    await connection.execute(
        f"INSERT INTO {SCHEMA}.table_authority (table_name, authority) VALUES (%(table)s, %(to)s) "
        "ON CONFLICT (table_name) DO UPDATE SET authority = excluded.authority, changed_at = clock_timestamp()",
        {"table": table, "to": to},
    )


async def read_tables_and_processes(connection: AsyncConnection) -> tuple[Any, ...]:
    """The tables whose own authority is PostgreSQL, when one last moved, the bot's processes and their stages."""
    return await fetch_row(
        connection,
        f"SELECT ARRAY(SELECT table_name FROM {SCHEMA}.table_authority WHERE authority = 'postgres' ORDER BY 1), "
        f"(SELECT max(changed_at) FROM {SCHEMA}.table_authority), "
        f"ARRAY(SELECT name FROM {SCHEMA}.processes ORDER BY name), "
        f"ARRAY(SELECT stage FROM {SCHEMA}.processes ORDER BY name)",
    )
