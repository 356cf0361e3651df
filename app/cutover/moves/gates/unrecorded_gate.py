"""Gate: what was written to PostgreSQL while nothing was recorded for Supabase is there all the same."""

from __future__ import annotations

from psycopg import AsyncConnection

from app.cutover.moves.gates.objection import Objection
from app.cutover.tables import METHODS_TABLES

# Recording began anew with the step back from complete. Who has left live since has answered for it already.
_RECORDED_AGAIN = """
SELECT back.ended_at FROM botdata.moves back WHERE back.state = 'done' AND back.from_stage = 'complete'
AND EXISTS (SELECT FROM botdata.moves WHERE kind = 'finish' AND state = 'done' AND id < back.id)
AND NOT EXISTS (SELECT FROM botdata.moves WHERE from_stage = 'live' AND to_stage = 'shadow' AND state = 'done'
    AND id > (SELECT max(id) FROM botdata.moves WHERE kind = 'finish' AND state = 'done'))
ORDER BY back.id DESC LIMIT 1
"""
_UNPROVEN = """
SELECT name FROM unnest(%s::text[]) name WHERE NOT EXISTS (SELECT FROM botdata.verifications
WHERE table_name = name AND differences = 0 AND began_at > %s) ORDER BY name
"""


async def unrecorded_since_finish(connection: AsyncConnection) -> list[Objection]:
    """Tables that no clean verify shows to be whole in Supabase since the way back was ended, and opened again."""
    row = await (await connection.execute(_RECORDED_AGAIN)).fetchone()
    if row is None:
        return []
    names = [
        name for (name,) in await (await connection.execute(_UNPROVEN, [sorted(METHODS_TABLES), row[0]])).fetchall()
    ]
    if not names:
        return []
    tables = ",".join(names)
    return [
        Objection(
            f"{', '.join(names)}: what was written after botdata cutover finish was not recorded, and no clean verify "
            "since the step back shows that Supabase has it",
            f"botdata sync --reverse --tables {tables}; botdata verify --tables {tables}",
        )
    ]
