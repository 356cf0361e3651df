"""What a verify found of a table, kept in the target for the gates of a cutover."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection

_MAY_RECORD = """
SELECT clock_timestamp() FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname = 'botdata' AND relname = 'verifications' AND has_schema_privilege(n.oid, 'USAGE')
AND has_table_privilege(c.oid, 'INSERT')
"""


@dataclass(frozen=True, slots=True)
class VerifyRecord:
    """A comparison that has begun."""

    connection: AsyncConnection
    began_at: datetime

    async def end(self, source: str, table: str, differences: int) -> None:
        """Keep what it found."""
        await self.connection.execute(
            "INSERT INTO botdata.verifications (source, table_name, began_at, differences) VALUES (%s, %s, %s, %s)",
            [source, table, self.began_at, differences],
        )


async def begin_record(connection: AsyncConnection) -> VerifyRecord | None:
    """Note the time; None where the target keeps no records, or the role may not add to them."""
    row = await (await connection.execute(_MAY_RECORD)).fetchone()
    return VerifyRecord(connection, row[0]) if row else None
