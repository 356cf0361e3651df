"""Gate: what was written to PostgreSQL is in Supabase, or on its way there."""

from psycopg import AsyncConnection

from app.cutover.moves.gates.objection import Objection
from app.cutover.tables import METHODS_TABLES
from app.state.cutover import backlog
from app.state.cutover.moves import recorded_again_since
from app.state.cutover.proofs import unverified_since
from app.state.cutover.stage import StageRow


async def outbox(connection: AsyncConnection, most_seconds: float) -> list[Objection]:
    """Entries that could not be sent, and entries that should have been sent by now."""
    found = [
        Objection(
            f"{waiting.table}: {waiting.failed:,} entries of the outbox could not be sent to Supabase"
            f"{waiting.error_told}",
            "put that right, then: botdata mirror retry",
        )
        for waiting in await backlog.entries(connection)
        if waiting.failed
    ]
    count, age = await backlog.overdue_entries(connection, most_seconds)
    if count:
        found.append(
            Objection(
                f"{count:,} entries of the outbox wait for longer than {most_seconds:g} s, the oldest for {age:,.0f} s",
                "botdata mirror drain",
            )
        )
    return found


async def unsent(connection: AsyncConnection) -> list[Objection]:
    """Writes that Supabase would lose if it became the authority; those on their way settle at the barrier."""
    entries = await backlog.entries(connection)
    if all(waiting.settling for waiting in entries):
        return []
    return [
        Objection(
            f"{waiting.table}: {waiting.count:,} writes that Supabase does not have yet would be lost"
            f"{waiting.error_told}",
            "botdata mirror drain; where it names an error: put that right, then: botdata mirror retry",
            loses_outbox=True,
        )
        for waiting in entries
    ]


def unrecorded(row: StageRow) -> list[Objection]:
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
