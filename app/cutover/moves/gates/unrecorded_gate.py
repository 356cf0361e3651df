"""Gate: what was written to PostgreSQL while nothing was recorded for Supabase is there all the same."""

from psycopg import AsyncConnection

from app.cutover.moves.gates.objection import Objection
from app.cutover.tables import METHODS_TABLES
from app.state.cutover.moves import recorded_again_since
from app.state.cutover.proofs import unverified_since


async def unrecorded_since_finish(connection: AsyncConnection) -> list[Objection]:
    """Tables that no clean verify shows to be whole in Supabase since the way back was ended, and opened again."""
    moment = await recorded_again_since(connection)
    names = [] if moment is None else await unverified_since(connection, sorted(METHODS_TABLES), moment)
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
