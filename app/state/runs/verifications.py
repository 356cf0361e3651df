"""Verifications: what a verify found of a table, kept for the gates of a cutover."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection

from app.state.schema_name import SCHEMA


@dataclass(frozen=True, slots=True)
class Verification:
    """A comparison that has begun."""

    connection: AsyncConnection
    began_at: datetime

    async def end(self, source: str, table: str, differences: int) -> None:
        """Keep what it found."""
        await self.connection.execute(
            f"INSERT INTO {SCHEMA}.verifications (source, table_name, began_at, differences) "
            "VALUES (%(source)s, %(table)s, %(began_at)s, %(differences)s)",
            {"source": source, "table": table, "began_at": self.began_at, "differences": differences},
        )


async def begin_verification(connection: AsyncConnection) -> Verification | None:
    """Note the time; None where the target keeps no records, or the role may not add to them."""
    cursor = await connection.execute(
        "SELECT clock_timestamp() FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE nspname = %(schema)s AND relname = 'verifications' AND has_schema_privilege(n.oid, 'USAGE') "
        "AND has_table_privilege(c.oid, 'INSERT')",
        {"schema": SCHEMA},
    )
    row = await cursor.fetchone()
    return Verification(connection, row[0]) if row else None
