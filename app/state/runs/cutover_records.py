"""What the commands that move rows ask of the cutover's own tables: where it stands, and which notes a sync repairs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from app.state.schema_name import SCHEMA


async def read_stage(connection: AsyncConnection, *, share: bool) -> tuple[str, datetime | None]:
    """The stage, and when a command last moved it; None: none has.

    Args:
        share: no move ends until the transaction does.
    """
    cursor = await connection.execute(f"SELECT stage, moved_at FROM {SCHEMA}.stage{' FOR SHARE' if share else ''}")
    ((stage, moved_at),) = await cursor.fetchall()
    return stage, moved_at


async def read_tables_and_processes(connection: AsyncConnection) -> tuple[Any, ...]:
    """The tables whose own authority is PostgreSQL, when one last moved, the bot's processes and their stages."""
    cursor = await connection.execute(
        f"SELECT ARRAY(SELECT table_name FROM {SCHEMA}.table_authority WHERE authority = 'postgres' ORDER BY 1), "
        f"(SELECT max(changed_at) FROM {SCHEMA}.table_authority), "
        f"ARRAY(SELECT name FROM {SCHEMA}.processes ORDER BY name), "
        f"ARRAY(SELECT stage FROM {SCHEMA}.processes ORDER BY name)"
    )
    (row,) = await cursor.fetchall()
    return row


async def resolved_notes(
    connection: AsyncConnection, table: str, settles_after: float
) -> tuple[datetime, tuple[int, ...]]:
    """The time by the target's clock, and the notes that a look at Supabase from now on repairs.

    Such a look began when the note's write had landed, or would not land any more.

    Args:
        settles_after: seconds after which a write of unknown outcome no longer lands.
    """
    cursor = await connection.execute(
        f"SELECT clock_timestamp(), ARRAY(SELECT id FROM {SCHEMA}.notes WHERE table_name = %(table)s "
        "AND (state = 'written' OR noted_at < clock_timestamp() - make_interval(secs => %(seconds)s)))",
        {"table": table, "seconds": settles_after},
    )
    ((now, notes),) = await cursor.fetchall()
    return now, tuple(notes)


async def drop_repaired(connection: AsyncConnection, notes: Iterable[int]) -> None:
    """Drop notes that a sync repaired, and remember when the last of them was left."""
    await connection.execute(
        f"WITH gone AS (DELETE FROM {SCHEMA}.notes WHERE id = ANY (%(notes)s) RETURNING noted_at) "
        f"UPDATE {SCHEMA}.last_left_note SET left_at = greatest(left_at, last.noted_at) "
        "FROM (SELECT max(noted_at) AS noted_at FROM gone) last WHERE last.noted_at IS NOT NULL",
        {"notes": list(notes)},
    )


async def count_noted_keys(connection: AsyncConnection, table: str) -> int:
    """How many keys of a table are being written to Supabase, as its notes say."""
    cursor = await connection.execute(
        f"SELECT count(DISTINCT key) FROM {SCHEMA}.notes WHERE table_name = %(table)s", {"table": table}
    )
    ((count,),) = await cursor.fetchall()
    return int(count)
