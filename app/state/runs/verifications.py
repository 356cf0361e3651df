"""Verifications: what a verify found of a table, kept for the gates of a cutover."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection

from app.state.fetching import fetch_rows, fetch_value
from app.state.schema_name import SCHEMA


async def begin_verification(connection: AsyncConnection) -> datetime | None:
    """When a comparison begins, by the target's clock.

    Returns:
        None where the target keeps no records, or the role may not add to them.
    """
    began_at: datetime | None = await fetch_value(
        connection,
        "SELECT clock_timestamp() FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE nspname = %(schema)s AND relname = 'verifications' AND has_schema_privilege(n.oid, 'USAGE') "
        "AND has_table_privilege(c.oid, 'INSERT')",
        {"schema": SCHEMA},
    )
    return began_at


async def keep_verification(
    connection: AsyncConnection, source: str, table: str, began_at: datetime, differences: int
) -> None:
    """Keep what it found.

    Args:
        source: its label.
        differences: rows that differ.
    """
    await connection.execute(
        f"INSERT INTO {SCHEMA}.verifications (source, table_name, began_at, differences) "
        "VALUES (%(source)s, %(table)s, %(began_at)s, %(differences)s)",
        {"source": source, "table": table, "began_at": began_at, "differences": differences},
    )


@dataclass(frozen=True, slots=True)
class LastVerification:
    """The last verify of a table that compared all rows.

    Attributes:
        source: the label of the source that it compared with.
        differences: rows that differed.
        ended_at: ISO 8601, in UTC.
    """

    source: str
    differences: int
    ended_at: str


async def last_verifications(connection: AsyncConnection) -> dict[str, LastVerification]:
    """The last one of each table, by the table's label."""
    rows = await fetch_rows(
        connection,
        "SELECT DISTINCT ON (table_name) table_name, source, differences, "
        "to_char(ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') "
        f"FROM {SCHEMA}.verifications ORDER BY table_name, id DESC",
    )
    return {table: LastVerification(*rest) for table, *rest in rows}
