"""Gate: every process of the bot reports itself, stands at the stage, and follows its moves."""

from psycopg import AsyncConnection

from app.cutover.moves.gates.objection import Objection, bring_back
from app.cutover.stages import Stage
from app.state.cutover.processes import Process, read_processes

_FOLLOW = "restart it with CUTOVER_STAGE=database"


async def processes(connection: AsyncConnection, stage: Stage) -> list[Objection]:
    """Processes that are silent, fixed, at another stage or in trouble; that there is none is an objection too."""
    found = await read_processes(connection)
    if not found:
        return [
            Objection(
                "no process of the bot reports itself, so one that writes past the cutover would not be seen",
                "start the bot with CUTOVER_STAGE=database and DATABASE_URL",
            )
        ]
    return [one for process in found for one in _of(process, stage)]


async def fixed(connection: AsyncConnection) -> list[Objection]:
    """Processes that cannot follow a move of the authority."""
    return [one for process in await read_processes(connection) for one in _fixed(process)]


def _of(process: Process, stage: Stage) -> list[Objection]:
    if process.silent:
        return [
            Objection(
                f"process {process.name} last reported {process.age:,.0f} s ago",
                bring_back(process.name),
            )
        ]
    found = _fixed(process)
    if process.stage is not stage and not found:
        found.append(
            Objection(
                f"process {process.name} reports {process.stage}, and the stage is {stage}",
                f"a process follows within 2 s: botdata cutover status; if it does not, {_FOLLOW}",
            )
        )
    if process.problem is not None:
        found.append(
            Objection(f"process {process.name} is in trouble: {process.problem}", "put that right; it reports anew")
        )
    return found


def _fixed(process: Process) -> list[Objection]:
    if process.follows:
        return []
    return [Objection(f"process {process.name} does not follow moves: {process.chosen_by} fixes its stage", _FOLLOW)]
