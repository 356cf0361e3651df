"""Synced tables: when a sync last brought over all that had changed, and which notes of the bot it repaired.

The gates of a cutover ask for it. A note is repaired by a look at Supabase that began when its write had landed, or
would not land any more.
"""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection

from app.state.fetching import fetch_rows, fetch_value
from app.state.schema_name import SCHEMA


@dataclass(frozen=True, slots=True)
class LookBegun:
    """A look at a table: when it began, by the target's clock, and the notes that it repairs."""

    began_at: datetime
    notes: list[int]


async def begin_look(connection: AsyncConnection, table: str, settles_after: float) -> LookBegun:
    """Before the first reading of the source.

    Args:
        settles_after: seconds after which a write of unknown outcome no longer lands.
    """
    (row,) = await fetch_rows(
        connection,
        f"SELECT clock_timestamp(), ARRAY(SELECT id FROM {SCHEMA}.notes WHERE table_name = %(table)s "
        "AND (state = 'written' OR noted_at < clock_timestamp() - make_interval(secs => %(seconds)s)))",
        {"table": table, "seconds": settles_after},
    )
    return LookBegun(*row)


async def count_noted_keys(connection: AsyncConnection, table: str) -> int:
    """How many keys of a table are being written to Supabase, as its notes say.

    Asked in a transaction that has the table to itself, it tells how many mirrors are to come: one takes its note away
    in the transaction that writes its row.
    """
    statement = f"SELECT count(DISTINCT key) FROM {SCHEMA}.notes WHERE table_name = %(table)s"
    return int(await fetch_value(connection, statement, {"table": table}))


async def noted(connection: AsyncConnection, table: str) -> tuple[int, int]:
    """How many notes there have ever been, and how many of a table there are.

    While both stay as they are, no mirror of the table has come to its end: it takes its note away.
    """
    ((ever, now),) = await fetch_rows(
        connection,
        "SELECT CASE WHEN is_called THEN last_value ELSE 0 END, "
        f"(SELECT count(*) FROM {SCHEMA}.notes WHERE table_name = %(table)s) FROM {SCHEMA}.notes_id_seq",
        {"table": table},
    )
    return ever, now


async def end_look(connection: AsyncConnection, source: str, table: str, begun: LookBegun, *, aged: bool) -> None:
    """All that the look found is in the target.

    Args:
        aged: a verify from before does not count any more.
    """
    async with connection.transaction():
        if begun.notes:
            await connection.execute(
                f"WITH gone AS (DELETE FROM {SCHEMA}.notes WHERE id = ANY (%(notes)s) RETURNING noted_at) "
                f"UPDATE {SCHEMA}.last_left_note SET left_at = greatest(left_at, last.noted_at) "
                "FROM (SELECT max(noted_at) AS noted_at FROM gone) last WHERE last.noted_at IS NOT NULL",
                {"notes": begun.notes},
            )
        await connection.execute(
            f"INSERT INTO {SCHEMA}.synced_tables AS s (table_name, source, began_at, changed_at) "
            "VALUES (%(table)s, %(source)s, %(began)s, CASE WHEN %(aged)s THEN clock_timestamp() END) "
            "ON CONFLICT (table_name) DO UPDATE SET source = excluded.source, began_at = excluded.began_at, "
            "ended_at = excluded.ended_at, timeline = excluded.timeline, "
            "changed_at = coalesce(excluded.changed_at, s.changed_at)",
            {"table": table, "source": source, "began": begun.began_at, "aged": aged},
        )
