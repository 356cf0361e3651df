"""The end of the way back: from then on Supabase is told nothing more."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection

from app.cutover.moves.stage_row import kept, lock_stage_row, open_cutover
from app.cutover.stages import Stage, Store
from app.cutover.tables import OWN_AUTHORITY
from app.errors import MigrationError
from app.next_step import Command, NextStep
from app.settings import Settings
from app.state.cutover import backlog
from app.state.cutover.moves import open_move, record
from app.state.cutover.stage import StageRow, end_way_back, read_stage_row
from app.state.cutover.table_authority import read_authorities

_STEP = "cutover finish"


@dataclass(frozen=True, slots=True)
class Ending:
    """What the end of the way back does, or did.

    Attributes:
        finished_at: when it was ended before; None: it was not.
        recorded: entries that are kept for Supabase, and are dropped.
        still_supabase: tables with an authority of their own that is Supabase: their writers still need it.
    """

    finished_at: datetime | None
    recorded: int
    still_supabase: tuple[str, ...]


async def look_at_end(settings: Settings) -> Ending:
    """What `finish` would do.

    Raises:
        MigrationError: the stage is not `complete`, or the target cannot be used.
    """
    async with open_cutover(settings.require_database_url(), _STEP) as connection:
        return await _ending(connection, await read_stage_row(connection))


async def finish(settings: Settings) -> Ending:
    """End the way back. Errors are those of `look_at_end`."""
    url = settings.require_database_url()
    async with open_cutover(url, _STEP) as connection, kept(url, connection, step=_STEP):
        row = await lock_stage_row(connection, "FOR UPDATE", step=_STEP)  # after the writes that are being recorded
        ending = await _ending(connection, row)
        if ending.finished_at is None:
            await backlog.drop_entries(connection)
            await end_way_back(connection)
            await record(connection, "finish", said=f"{ending.recorded} recorded entries dropped")
        return ending


async def _ending(connection: AsyncConnection, row: StageRow) -> Ending:
    if row.stage is not Stage.COMPLETE or await open_move(connection):
        raise MigrationError(
            f"the way back ends at {Stage.COMPLETE}, and the cutover stands at {row.stage}",
            step=_STEP,
            pending="all of it; the way back stays open",
            next_step=NextStep(Command("cutover status")),
        )
    recorded = sum(waiting.count for waiting in await backlog.entries(connection))
    own = await read_authorities(connection, OWN_AUTHORITY)
    left = tuple(table for table, authority in own.items() if authority is Store.SUPABASE)
    return Ending(row.finished_at, recorded, left)
