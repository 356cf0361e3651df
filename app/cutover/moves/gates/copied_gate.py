"""Gate: what Supabase holds is in PostgreSQL, and has been since every process mirrors what it writes."""

from __future__ import annotations

from datetime import datetime

from psycopg import AsyncConnection

from app.cutover.moves.gates.objection import Objection
from app.cutover.moves.processes import SILENT_AFTER
from app.cutover.moves.stage_row import StageRecord
from app.cutover.tables import READ_TABLES
from app.models import Base

BUSINESS_TABLES = tuple(table.name for table in Base.metadata.sorted_tables if table.info["group"] == "business")

_QUARANTINE = "SELECT table_name, count(*) FROM botdata.quarantine GROUP BY table_name ORDER BY table_name"
_COPIED = """
SELECT name FROM unnest(%s::text[]) name
WHERE name NOT IN (SELECT table_name FROM botdata.checkpoints WHERE state = 'complete')
AND name NOT IN (SELECT table_name FROM botdata.synced_tables)
AND name NOT IN (SELECT table_name FROM botdata.table_authority WHERE authority = 'postgres')
"""
# A note is in the care of its process for a moment: a mirror of a write that is just being made is no objection.
_LEFT_NOTES = """
SELECT table_name, count(*), max(last_error) FROM botdata.notes WHERE attempts > 0 OR state = 'unknown'
OR noted_at < clock_timestamp() - make_interval(secs => %s) OR process NOT IN (SELECT name FROM botdata.processes)
GROUP BY table_name ORDER BY table_name
"""
_SPOOLED = "SELECT name, spooled FROM botdata.processes WHERE spooled > 0 ORDER BY name"
# The last time from which on every process mirrored what it wrote: the move that began it, and the processes that were
# there before and followed. A forced step to shadow says nothing of those, so then its own followers count.
_MIRRORED_SINCE = """
WITH moves AS (
    SELECT max(ended_at) FILTER (WHERE to_stage = 'dualwrite' AND kind = 'advance'
            OR to_stage = 'shadow' AND kind = 'back') AS began,
        max(ended_at) FILTER (WHERE to_stage = 'shadow' AND kind = 'advance' AND reason IS NOT NULL) AS forced
    FROM botdata.moves WHERE state = 'done'
), entered AS (
    SELECT coalesce(began, moved_at) AS began, CASE stage WHEN 'dualwrite' THEN coalesce(began, moved_at)
        ELSE forced END AS asked FROM moves, botdata.stage
)
SELECT greatest(began, (SELECT left_at FROM botdata.last_left_note),
    (SELECT max(stage_since) FROM botdata.processes WHERE began_at < asked)) FROM entered
"""
_PROOFS = """
SELECT name, s.began_at, s.ended_at, s.changed_at, v.began_at, v.differences FROM unnest(%s::text[]) name
LEFT JOIN botdata.synced_tables s ON s.table_name = name
LEFT JOIN LATERAL (SELECT began_at, differences FROM botdata.verifications WHERE table_name = name
    ORDER BY began_at DESC LIMIT 1) v ON true
WHERE name NOT IN (SELECT table_name FROM botdata.table_authority WHERE authority = 'postgres')
"""
_LEFT_BEHIND = """
SELECT table_name FROM botdata.table_authority WHERE authority = 'postgres' AND table_name = ANY(%s) ORDER BY table_name
"""


async def quarantine(connection: AsyncConnection) -> list[Objection]:
    """Rows that PostgreSQL refused."""
    rows = await (await connection.execute(_QUARANTINE)).fetchall()
    return [
        Objection(f"{table}: {count:,} rows in quarantine", f"botdata quarantine list --tables {table}")
        for table, count in rows
    ]


async def copied(connection: AsyncConnection) -> list[Objection]:
    """Tables that were never brought over whole."""
    rows = await (await connection.execute(_COPIED, [list(BUSINESS_TABLES)])).fetchall()
    if not rows:
        return []
    names = ",".join(name for (name,) in rows)
    return [Objection(f"never copied whole: {names.replace(',', ', ')}", f"botdata copy --tables {names}")]


async def notes(connection: AsyncConnection) -> list[Objection]:
    """Writes to Supabase whose mirrors did not come."""
    found = [
        Objection(
            f"{table}: {count:,} notes of writes that PostgreSQL may not have"
            f"{f' (last error: {error})' if error else ''}",
            "botdata sync, which repairs them, a minute after the last one where their outcome is unknown",
        )
        for table, count, error in await (await connection.execute(_LEFT_NOTES, [SILENT_AFTER])).fetchall()
    ]
    found += [
        Objection(
            f"process {name} keeps {count:,} notes in its spool file, since it could not reach PostgreSQL",
            "it brings them in by itself when it can; then: botdata sync",
        )
        for name, count in await (await connection.execute(_SPOOLED)).fetchall()
    ]
    return found


async def proven(connection: AsyncConnection, row: StageRecord) -> list[Objection]:
    """Tables without a sync and a clean verify that both began after the last write that was not mirrored."""
    ((since,),) = await (await connection.execute(_MIRRORED_SINCE)).fetchall()
    proofs = await (await connection.execute(_PROOFS, [list(BUSINESS_TABLES)])).fetchall()
    unsynced: list[str] = []
    unverified: list[str] = []
    older: list[str] = []
    found: list[Objection] = []
    for name, sync_began, _, changed_at, verify_began, differences in sorted(proofs):
        if not _after(sync_began, since):
            unsynced.append(name)
        if verify_began is not None and differences:
            found.append(
                Objection(
                    f"{name}: the last verify found {differences:,} differences",
                    f"botdata sync --tables {name}, then: botdata verify --tables {name}",
                )
            )
        elif not _after(verify_began, since):
            unverified.append(name)
        elif changed_at is not None and verify_began < changed_at:
            older.append(name)
    moment = f"{since:%Y-%m-%d %H:%M:%S} UTC" if since else "the move to dualwrite"
    for names, what, command in (
        (unsynced, f"not synced since {moment}, when the last write was made that may not be mirrored", "sync"),
        (unverified, f"not verified since {moment}, when the last write was made that may not be mirrored", "verify"),
        (older, "the last verify is older than the last sync", "verify"),
    ):
        if names:
            found.append(Objection(f"{', '.join(names)}: {what}", f"botdata {command} --tables {','.join(names)}"))
    return found


async def left_behind(connection: AsyncConnection) -> list[Objection]:
    """Tables that Supabase would answer from, though their writer writes PostgreSQL; the others are not read."""
    return [
        Objection(
            f"{name}: its authority is PostgreSQL; Supabase would answer without what its writer has written there",
            f"botdata sync --reverse --tables {name}; then move its writer, and: botdata cutover table {name} supabase",
        )
        for (name,) in await (await connection.execute(_LEFT_BEHIND, [sorted(READ_TABLES)])).fetchall()
    ]


def _after(moment: datetime | None, since: datetime | None) -> bool:
    return moment is not None and (since is None or moment > since)
