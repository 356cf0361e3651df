"""Synced tables: when a sync last brought over all that had changed in a table, kept for the gates of a cutover."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection

from app.state.runs import cutover_records
from app.state.schema_name import SCHEMA


@dataclass(frozen=True, slots=True)
class LookBegun:
    """A look at a table: when it began, by the target's clock, and the notes that it repairs."""

    began_at: datetime
    notes: tuple[int, ...]


async def begin_look(connection: AsyncConnection, table: str, settles_after: float) -> LookBegun:
    """Before the first reading of the source.

    Args:
        settles_after: seconds after which a write of unknown outcome no longer lands.
    """
    return LookBegun(*await cutover_records.resolved_notes(connection, table, settles_after))


async def end_look(connection: AsyncConnection, source: str, table: str, begun: LookBegun, *, aged: bool) -> None:
    """All that the look found is in the target.

    Args:
        aged: a verify from before does not count any more.
    """
    async with connection.transaction():
        if begun.notes:
            await cutover_records.drop_repaired(connection, begun.notes)
        await connection.execute(
            f"INSERT INTO {SCHEMA}.synced_tables AS s (table_name, source, began_at, changed_at) "
            "VALUES (%(table)s, %(source)s, %(began)s, CASE WHEN %(aged)s THEN clock_timestamp() END) "
            "ON CONFLICT (table_name) DO UPDATE SET source = excluded.source, began_at = excluded.began_at, "
            "ended_at = excluded.ended_at, changed_at = coalesce(excluded.changed_at, s.changed_at)",
            {"table": table, "source": source, "began": begun.began_at, "aged": aged},
        )
