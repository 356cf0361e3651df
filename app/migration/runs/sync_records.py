"""What a sync keeps of itself for the gates of a cutover: which tables it brought over, and which notes it repaired."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection

from app.cutover.tables import METHODS_TABLES
from app.migration.tables.copy_table import CopyTable

# A note is repaired by a look at Supabase that began when its write had landed, or would not land any more.
_RESOLVED = """
SELECT clock_timestamp(), ARRAY(SELECT id FROM botdata.notes WHERE table_name = %s
    AND (state = 'written' OR noted_at < clock_timestamp() - make_interval(secs => %s)))
"""
_REPAIRED = """
WITH gone AS (DELETE FROM botdata.notes WHERE id = ANY (%s) RETURNING noted_at)
UPDATE botdata.last_left_note SET left_at = greatest(left_at, last.noted_at)
FROM (SELECT max(noted_at) AS noted_at FROM gone) last WHERE last.noted_at IS NOT NULL
"""
_SYNCED = """
INSERT INTO botdata.synced_tables AS s (table_name, source, began_at, changed_at)
VALUES (%(table)s, %(source)s, %(began)s, CASE WHEN %(aged)s THEN clock_timestamp() END)
ON CONFLICT (table_name) DO UPDATE SET source = excluded.source, began_at = excluded.began_at,
    ended_at = excluded.ended_at, changed_at = coalesce(excluded.changed_at, s.changed_at)
"""
_NOTED = "SELECT count(DISTINCT key) FROM botdata.notes WHERE table_name = %s"


@dataclass(frozen=True, slots=True)
class LookBegun:
    """A look at a table: when it began, by the target's clock, and the notes that it repairs."""

    began_at: datetime
    notes: tuple[int, ...]


async def begin_look(connection: AsyncConnection, table: CopyTable, settles_after: float) -> LookBegun:
    """Before the first reading of the source.

    Args:
        settles_after: seconds after which a write of unknown outcome no longer lands.
    """
    cursor = await connection.execute(_RESOLVED, [table.name, settles_after])
    ((began_at, notes),) = await cursor.fetchall()
    return LookBegun(began_at, tuple(notes))


async def are_explained(connection: AsyncConnection, table: CopyTable, changed: int) -> bool:
    """Whether so many changes may be writes of the bot whose mirrors were just to come.

    Asked in the transaction that made the changes and has the table to itself: a mirror takes its note away in the
    transaction that writes its row.
    """
    if table.name not in METHODS_TABLES:
        return True
    ((noted,),) = await (await connection.execute(_NOTED, [table.name])).fetchall()
    return bool(changed <= noted)


async def end_look(connection: AsyncConnection, source: str, table: CopyTable, begun: LookBegun, *, aged: bool) -> None:
    """All that the look found is in the target.

    Args:
        aged: a verify from before does not count any more.
    """
    async with connection.transaction():
        if begun.notes:
            await connection.execute(_REPAIRED, [list(begun.notes)])
        await connection.execute(
            _SYNCED, {"table": table.name, "source": source, "began": begun.began_at, "aged": aged}
        )
