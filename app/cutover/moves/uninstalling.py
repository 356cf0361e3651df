"""What speaks against dropping schema `botdata`: a cutover or a rehearsal that goes by what is in it."""

from psycopg import AsyncConnection

from app.common.schemas import schemas_of
from app.cutover.stages import Stage
from app.errors import MigrationError
from app.next_step import Command, NextStep
from app.state.cutover.processes import read_processes
from app.state.cutover.stage import read_stage_row
from app.state.rehearsals import not_removed
from app.state.tool_schema import is_current

_STEP = "uninstall"


async def refuse_during_cutover(connection: AsyncConnection) -> None:
    """Stop while the stage is between its ends, or a process goes by its row.

    Raises:
        MigrationError: says what ends the cutover first.
    """
    if not await is_current(connection):
        return
    row = await read_stage_row(connection)
    if row.moved_out:  # the triggers that hold the tables still would go with the schema
        raise MigrationError(
            row.moved_out,
            step=_STEP,
            pending="everything; nothing was dropped",
            next_step=NextStep(Command("schema drop", schemas_of(connection).data)),
        )
    if row.moved_at is not None and row.stage is not Stage.OFF and row.finished_at is None:
        raise MigrationError(
            f"the cutover stands at {row.stage}: with the schema, the stage and the writes that the other store is "
            "still to get would be forgotten",
            step=_STEP,
            pending="everything; nothing was dropped",
            next_step=NextStep(
                Command("cutover status"),
                "; then on to its end with ",
                Command("cutover advance"),
                " and finish, or down to off with ",
                Command("cutover back"),
            ),
        )
    following = [process.name for process in await read_processes(connection) if process.follows]
    if following:
        fixed = "true" if row.stage is Stage.COMPLETE else "false"
        raise MigrationError(
            f"processes follow the row of the stage, and could not start again without it: {', '.join(following)}",
            step=_STEP,
            pending="everything; nothing was dropped",
            next_step=NextStep(
                f"restart them with USE_REPOSITORY_PATTERN={fixed} and without CUTOVER_STAGE; those that have ended: ",
                Command("cutover forget", "PROCESS"),
                "; then: ",
                Command("uninstall"),
            ),
        )


async def refuse_with_rehearsals(connection: AsyncConnection) -> None:
    """Stop while a database of a rehearsal may be there, which is found by its record alone.

    Raises:
        MigrationError: says what removes it first.
    """
    if left := await not_removed(connection):
        raise MigrationError(
            f"rehearsals are under way, or were killed and left a database, {len(left)} of them: without their records "
            "it would not be found again",
            step=_STEP,
            pending="everything; nothing was dropped",
            next_step=NextStep(Command("rehearse", "--clean-up"), "; then: ", Command(_STEP)),
        )
