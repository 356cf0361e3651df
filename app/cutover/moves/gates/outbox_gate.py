"""Gate: what was written to PostgreSQL is in Supabase, or on its way there."""

from __future__ import annotations

from psycopg import AsyncConnection

from app.cutover.moves.gates.objection import Objection
from app.cutover.moves.stage_row import StageRecord

_FAILED = """
SELECT table_name, count(*), max(last_error) FROM botdata.outbox WHERE last_error IS NOT NULL
GROUP BY table_name ORDER BY table_name
"""
_OLD = """
SELECT count(*), extract(epoch FROM clock_timestamp() - min(recorded_at))::double precision FROM botdata.outbox
WHERE last_error IS NULL AND recorded_at < clock_timestamp() - make_interval(secs => %s)
"""
# An entry that its process is just sending for the first time settles behind the barrier. One statement, since entries
# come and go all the time.
_UNSENT = """
SELECT table_name, count(*), max(last_error), bool_and(attempts = 0
    AND recorded_at > clock_timestamp() - interval '10 s' AND process IN (SELECT name FROM botdata.processes))
FROM botdata.outbox GROUP BY table_name ORDER BY table_name
"""


async def outbox(connection: AsyncConnection, most_seconds: float) -> list[Objection]:
    """Entries that could not be sent, and entries that should have been sent by now."""
    found = [
        Objection(
            f"{table}: {count:,} entries of the outbox could not be sent to Supabase (last error: {error})",
            "put that right, then: botdata mirror retry",
        )
        for table, count, error in await (await connection.execute(_FAILED)).fetchall()
    ]
    ((count, age),) = await (await connection.execute(_OLD, [most_seconds])).fetchall()
    if count:
        found.append(
            Objection(
                f"{count:,} entries of the outbox wait for longer than {most_seconds:g} s, the oldest for {age:,.0f} s",
                "botdata mirror drain",
            )
        )
    return found


async def unsent(connection: AsyncConnection) -> list[Objection]:
    """Writes that Supabase would lose if it became the authority; those on their way settle behind the barrier."""
    rows = await (await connection.execute(_UNSENT)).fetchall()
    if all(settling for *_, settling in rows):
        return []
    return [
        Objection(
            f"{table}: {count:,} writes that Supabase does not have yet would be lost"
            f"{f' (last error: {error})' if error else ''}",
            "botdata mirror drain; where it names an error: put that right, then: botdata mirror retry",
            loses_outbox=True,
        )
        for table, count, error, _ in rows
    ]


def unrecorded(row: StageRecord) -> list[Objection]:
    """Writes since the way back was ended."""
    if row.finished_at is None:
        return []
    return [
        Objection(
            f"the way back was ended at {row.finished_at:%Y-%m-%d %H:%M:%S} UTC: what was written since was not "
            "recorded, so it would be missing in Supabase",
            "botdata sync --reverse --until-clean, with the bot stopped; then with --force",
        )
    ]
