"""Which store each table's writers write to: with the stage, or by an authority of the table's own."""

from __future__ import annotations

from psycopg import AsyncConnection

from app.cutover.stages import Store
from app.cutover.tables import METHODS_TABLES
from app.models import Base

# Tables that no method of the data layer writes: other programs do.
OWN_AUTHORITY = tuple(
    sorted(
        table.name
        for table in Base.metadata.sorted_tables
        if table.info["group"] == "business" and table.name not in METHODS_TABLES
    )
)


async def read_authorities(connection: AsyncConnection) -> dict[str, Store]:
    """The authority of each table that has one of its own."""
    cursor = await connection.execute("SELECT table_name, authority FROM botdata.table_authority")
    found = {table: Store(authority) for table, authority in await cursor.fetchall()}
    return {table: found.get(table, Store.SUPABASE) for table in OWN_AUTHORITY}
