"""What runs left in tables `synced_tables`, `verifications`, `checkpoints` and `quarantine`, as the gates read it."""

from collections.abc import Sequence
from datetime import datetime

from psycopg import AsyncConnection

from app.state.fetching import fetch_column, fetch_row, fetch_rows, fetch_value
from app.state.schema_name import SCHEMA
from app.state.wal import TIMELINE

_OTHER_STORE = f"(SELECT table_name FROM {SCHEMA}.table_authority WHERE authority = 'postgres')"
# A failover may have lost what was mirrored since a proof.
_OF_NOW = f"timeline = {TIMELINE}"
# The move that began it, and the processes that were there before and followed. A forced step to shadow says nothing of
# those, so then its own followers count.
_MIRRORED_SINCE = f"""
WITH moves AS (
    SELECT max(ended_at) FILTER (WHERE to_stage = 'dualwrite' AND kind = 'advance'
            OR to_stage = 'shadow' AND kind = 'back') AS began,
        max(ended_at) FILTER (WHERE to_stage = 'shadow' AND kind = 'advance' AND reason IS NOT NULL) AS forced
    FROM {SCHEMA}.moves WHERE state = 'done'
), entered AS (
    SELECT coalesce(began, moved_at) AS began, CASE stage WHEN 'dualwrite' THEN coalesce(began, moved_at)
        ELSE forced END AS asked FROM moves, {SCHEMA}.stage
)
SELECT greatest(began, (SELECT left_at FROM {SCHEMA}.last_left_note),
    (SELECT max(stage_since) FROM {SCHEMA}.processes WHERE began_at < asked)) FROM entered
"""


async def refused_rows(connection: AsyncConnection) -> list[tuple[str, int]]:
    """The tables that have rows in quarantine, and how many."""
    return await fetch_rows(
        connection, f"SELECT table_name, count(*) FROM {SCHEMA}.quarantine GROUP BY table_name ORDER BY table_name"
    )


async def never_copied(connection: AsyncConnection, tables: Sequence[str]) -> list[str]:
    """Those of these tables that were never brought over whole, and whose writer still writes to Supabase."""
    return await fetch_column(
        connection,
        "SELECT name FROM unnest(%(tables)s::text[]) name "
        f"WHERE name NOT IN (SELECT table_name FROM {SCHEMA}.checkpoints WHERE state = 'complete') "
        f"AND name NOT IN (SELECT table_name FROM {SCHEMA}.synced_tables) AND name NOT IN {_OTHER_STORE}",
        {"tables": list(tables)},
    )


async def last_left(connection: AsyncConnection) -> str:
    """When a write was last left to a sync, or a process was forgotten: a text that is another one after each time."""
    return str(await fetch_value(connection, f"SELECT coalesce(left_at::text, 'never') FROM {SCHEMA}.last_left_note"))


async def mirrored_since(connection: AsyncConnection) -> datetime | None:
    """The last time from which on every process mirrored what it wrote; None where none is known."""
    moment: datetime | None = await fetch_value(connection, _MIRRORED_SINCE)
    return moment


async def table_proofs(
    connection: AsyncConnection, tables: Sequence[str]
) -> list[tuple[str, datetime | None, datetime | None, datetime | None, int | None]]:
    """What is known of each of these tables whose writer writes to Supabase.

    Returns:
        Of each: its name; when its last sync began; when a sync last ended whose changes the mirrors do not explain;
        when its last verify began, and the differences that this one found. None: there was none.
    """
    return await fetch_rows(
        connection,
        "SELECT name, s.began_at, s.changed_at, v.began_at, v.differences "
        f"FROM unnest(%(tables)s::text[]) name LEFT JOIN {SCHEMA}.synced_tables s "
        f"ON s.table_name = name AND {_OF_NOW} "
        "LEFT JOIN LATERAL (SELECT began_at, differences "
        f"FROM {SCHEMA}.verifications WHERE table_name = name AND {_OF_NOW} "
        f"ORDER BY began_at DESC LIMIT 1) v ON true WHERE name NOT IN {_OTHER_STORE}",
        {"tables": list(tables)},
    )


async def proof_of(connection: AsyncConnection, table: str) -> tuple[float | None, int, float | None, int | None]:
    """What is known of one table, whatever its authority.

    Returns:
        Seconds since its last sync began; its rows in quarantine; seconds since its last verify began, and the
        differences that this one found. None: there was none.
    """
    return await fetch_row(
        connection,
        "SELECT extract(epoch FROM clock_timestamp() "
        f"- (SELECT began_at FROM {SCHEMA}.synced_tables WHERE table_name = %(table)s))::double precision, "
        f"(SELECT count(*) FROM {SCHEMA}.quarantine WHERE table_name = %(table)s), "
        "extract(epoch FROM clock_timestamp() - v.began_at)::double precision, v.differences "
        f"FROM (VALUES (1)) one LEFT JOIN LATERAL (SELECT began_at, differences FROM {SCHEMA}.verifications "
        "WHERE table_name = %(table)s ORDER BY began_at DESC LIMIT 1) v ON true",
        {"table": table},
    )


async def synced_ages(connection: AsyncConnection) -> dict[str, float]:
    """Seconds since the last sync from Supabase began at each table that had one."""
    return dict(
        await fetch_rows(
            connection,
            "SELECT table_name, extract(epoch FROM clock_timestamp() - began_at)::double precision "
            f"FROM {SCHEMA}.synced_tables",
        )
    )


async def unverified_since(connection: AsyncConnection, tables: Sequence[str], moment: datetime) -> list[str]:
    """Those of these tables of which no clean verify has begun since, by name."""
    return await fetch_column(
        connection,
        f"SELECT name FROM unnest(%(tables)s::text[]) name WHERE NOT EXISTS (SELECT FROM {SCHEMA}.verifications "
        "WHERE table_name = name AND differences = 0 AND began_at > %(moment)s) ORDER BY name",
        {"tables": list(tables), "moment": moment},
    )
