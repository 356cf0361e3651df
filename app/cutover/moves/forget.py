"""Forgetting a process that ended without a goodbye, so that moves no longer wait for it."""

from app.cutover.moves.stage_row import UNCHANGED, changing, lock_stage_row
from app.cutover.stages import Store
from app.errors import MigrationError
from app.next_step import Command, NextStep
from app.settings import Settings
from app.state.cutover.journal import SPOIL_PROOFS
from app.state.cutover.moves import record
from app.state.cutover.processes import SILENT_AFTER, TAKE_AWAY, Process, read_processes

_STEP = "cutover forget"


async def forget(settings: Settings, name: str, *, force: str | None = None) -> Process:
    """Take a process's row away; as it last reported itself.

    Args:
        force: why it is to be forgotten although it reported a moment ago, or what it sent may still land.

    Raises:
        MigrationError: there is no such process, or it reports, or the target cannot be used.
    """
    async with changing(settings, _STEP) as connection:
        row = await lock_stage_row(connection, "FOR SHARE", step=_STEP)  # no move is made meanwhile
        processes = {process.name: process for process in await read_processes(connection)}
        process = processes.get(name)
        if process is None:
            known = ", ".join(processes) or "none reports"
            raise MigrationError(
                f"there is no process {name}; those that are there: {known}",
                step=_STEP,
                pending=UNCHANGED,
                next_step=NextStep(Command("cutover status")),
            )
        if not process.silent and force is None:
            raise MigrationError(
                f"process {name} reported itself {process.age:.1f} s ago: it runs",
                step=_STEP,
                pending=UNCHANGED,
                next_step=NextStep(
                    f"stop it, which says goodbye by itself; if it is killed, in {SILENT_AFTER:.0f} s: ",
                    Command(_STEP, name),
                ),
            )
        # What it sent and noted in its spool file alone, a sync and a verify could come too early to see.
        lands_for = settings.outcome_settles_after
        if row.stage.mirrors and row.stage.authority is Store.SUPABASE and process.age < lands_for and force is None:
            raise MigrationError(
                f"process {name} reported itself {process.age:.1f} s ago: what it sent to Supabase may land for "
                f"OUTCOME_SETTLES_AFTER, {lands_for:g} s",
                step=_STEP,
                pending=UNCHANGED,
                next_step=NextStep(f"in {lands_for - process.age:.0f} s: ", Command(_STEP, name)),
            )
        await connection.execute(TAKE_AWAY, {"process": name})
        # One that was killed or cut off may have written to Supabase what nobody has noted.
        await connection.execute(SPOIL_PROOFS)
        left = f"; {process.spooled} notes were in its spool file" if process.spooled else ""
        said = f"it was at {process.stage}, and had reported {process.age:.0f} s before{left}"
        await record(connection, "forget", subject=name, reason=force, said=said)
        return process
