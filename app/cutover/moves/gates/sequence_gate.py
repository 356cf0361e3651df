"""Gate: PostgreSQL's sequences are far past the ids of Supabase, so that no id is given out twice."""

from psycopg import AsyncConnection

from app.cutover.moves.gates.id_gap import Gap, read_gaps
from app.cutover.moves.gates.objection import Objection
from app.errors import BotdataError
from app.settings import Settings


async def sequences(connection: AsyncConnection, settings: Settings) -> list[Objection]:
    """Sequences that may give out an id that Supabase has, or will have."""
    try:
        gaps = await read_gaps(connection, settings)
    except BotdataError as error:
        return [Objection(f"the highest ids of Supabase could not be read: {error}", "botdata preflight")]
    gap = settings.cutover_id_gap
    return [_objection(one, gap) for one in gaps if not one.is_safe(gap)]


def _objection(one: Gap, gap: int) -> Objection:
    if one.overflows(gap):
        return Objection(
            f"{one.table}.{one.column} ends at {one.last_id:,}, and a gap of {gap:,} past {one.highest:,} does not fit",
            "a smaller CUTOVER_ID_GAP, that the ids given out until the end of the cutover do not fill",
        )
    return Objection(
        f"{one.table}.{one.column}: the next id of PostgreSQL is {one.next_id:,}, and Supabase is at "
        f"{one.source_highest:,}: the two would give out the same ids",
        "botdata cutover advance, which raises the sequence by CUTOVER_ID_GAP first",
    )
