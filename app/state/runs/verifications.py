"""Verifications: what a verify found of a table, kept for the gates of a cutover."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection

from app.state.fetching import fetch_each, fetch_rows, fetch_value
from app.state.schema_name import SCHEMA


async def begin_verification(connection: AsyncConnection) -> datetime | None:
    """When a comparison begins, by the target's clock.

    Returns:
        None where the target keeps no records, or the role may not add to them.
    """
    began_at: datetime | None = await fetch_value(
        connection,
        "SELECT clock_timestamp() FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
        f"WHERE nspname = '{SCHEMA}' AND relname = 'verifications' AND has_schema_privilege(n.oid, 'USAGE') "
        "AND has_table_privilege(c.oid, 'INSERT')",
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


async def equal_since(connection: AsyncConnection, source: str, tables: Sequence[str], since: datetime) -> bool:
    """Whether the last verify of each of the tables compared all rows with this source, began since then, and found
    none that differs."""
    count = await fetch_value(
        connection,
        "SELECT count(*) FROM (SELECT DISTINCT ON (table_name) source, differences, began_at "
        f"FROM {SCHEMA}.verifications WHERE table_name = ANY (%(tables)s) ORDER BY table_name, id DESC) v "
        "WHERE source = %(source)s AND differences = 0 AND began_at >= %(since)s",
        {"source": source, "tables": list(tables), "since": since},
    )
    return bool(count == len(tables))


@dataclass(frozen=True, slots=True)
class VerifyStep:
    """A verify, as its tables tell: those whose comparisons overlap in time.

    Attributes:
        source: the label of the source.
        began_at, ended_at: ISO 8601, in UTC.
        seconds: that it took.
        differences: rows of all tables that differed.
    """

    source: str
    began_at: str
    ended_at: str
    seconds: float
    tables: int
    differences: int


async def verify_steps(connection: AsyncConnection, most: int) -> list[VerifyStep]:
    """The newest first, so many at most."""
    moment = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
    return await fetch_each(
        connection,
        VerifyStep,
        f"SELECT source, {moment.format('min(began_at)')}, {moment.format('max(ended_at)')}, "
        "extract(epoch FROM max(ended_at) - min(began_at))::double precision, count(DISTINCT table_name), "
        "sum(differences)::bigint FROM (SELECT *, count(*) FILTER (WHERE is_first) OVER (PARTITION BY source "
        "ORDER BY began_at, id) AS step FROM (SELECT *, coalesce(began_at > max(ended_at) OVER (PARTITION BY source "
        "ORDER BY began_at, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), true) AS is_first "
        f"FROM {SCHEMA}.verifications) v) v GROUP BY source, step ORDER BY min(began_at) DESC LIMIT %(most)s",
        {"most": most},
    )
