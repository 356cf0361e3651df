"""The gates: what stands against a move of the stage, all of it, each with its remedy.

Forward, a gate asks for proof that the next stage is safe. Back, it asks only for what would be lost on the way.
"""

from psycopg import AsyncConnection

from app.cutover.moves.gates import (
    comparison_gate,
    copied_gate,
    drift_gate,
    id_gap,
    outbox_gate,
    process_gate,
)
from app.cutover.moves.gates.objection import Objection
from app.cutover.moves.gates.standby_gate import MAKE_WRITABLE, READ_ONLY, read_standbys
from app.cutover.moves.gates.thresholds import Thresholds
from app.cutover.moves.stage_row import UNCHANGED, open_cutover
from app.cutover.stages import Stage
from app.errors import MigrationError
from app.next_step import Command, NextStep
from app.settings import Settings
from app.state.cutover.stage import StageRow, read_stage_row

__all__ = ["Objection", "Thresholds", "objections"]

_STAGES = list(Stage)


async def objections(
    settings: Settings, to: Stage, thresholds: Thresholds | None = None, *, step: str = "cutover status"
) -> list[Objection]:
    """What stands against moving from the present stage to this one. Nothing is written.

    Args:
        to: the next stage or the one before.
        step: the command that asks.

    Raises:
        MigrationError: the target cannot be read, or has no tables of a cutover.
    """
    return [one for found in (await gates(settings, to, thresholds, step=step)).values() for one in found]


async def gates(
    settings: Settings, to: Stage, thresholds: Thresholds | None = None, *, step: str = "cutover status"
) -> dict[str, list[Objection]]:
    """What each gate has against it, by the gate's name; nothing where it holds. As `objections` otherwise."""
    thresholds = thresholds or Thresholds()
    async with open_cutover(settings.require_database_url(), step) as connection:
        row = await read_stage_row(connection)
        if (await read_standbys(connection)).is_read_only:
            following = NextStep(f"{MAKE_WRITABLE}; then: ", Command(step))
            raise MigrationError(READ_ONLY, step=step, pending=UNCHANGED, next_step=following)
        if _STAGES.index(to) <= _STAGES.index(row.stage):
            return await _back(connection, row, to)
        return await _forward(connection, settings, row, to, thresholds)


async def _forward(
    connection: AsyncConnection, settings: Settings, row: StageRow, to: Stage, thresholds: Thresholds
) -> dict[str, list[Objection]]:
    found = {"processes": await process_gate.processes(connection, row.stage)}
    found["foreign keys"] = await copied_gate.foreign_keys(connection, row.stage.authority)
    if to in {Stage.DUALWRITE, Stage.SHADOW, Stage.LIVE}:
        found["schemas"] = await drift_gate.drift(connection, settings, thresholds.accepted)
        found["quarantine"] = await copied_gate.quarantine(connection)
    if to is Stage.DUALWRITE:
        found["copied"] = await copied_gate.copied(connection)
    if to in {Stage.SHADOW, Stage.LIVE}:
        found["journal"] = await copied_gate.notes(connection)
        found["proofs"] = await copied_gate.proven(connection)
    if to is Stage.LIVE:
        found["streams"] = await copied_gate.streams(connection)
        found["sequences"] = await id_gap.sequences(connection, settings)
    if to in {Stage.LIVE, Stage.RAMPDOWN}:
        found["comparisons"] = await comparison_gate.comparisons(connection, row.stage, thresholds)
    if to in {Stage.RAMPDOWN, Stage.COMPLETE}:
        found["outbox"] = await outbox_gate.outbox(connection, thresholds.outbox_seconds)
    return found


async def _back(connection: AsyncConnection, row: StageRow, to: Stage) -> dict[str, list[Objection]]:
    found: dict[str, list[Objection]] = {}
    if row.stage is Stage.COMPLETE:
        found["way back"] = outbox_gate.unrecorded(row)
    if row.stage.authority is not to.authority:
        found["processes"] = await process_gate.fixed(connection)
        found["outbox"] = await outbox_gate.unsent(connection)
        found["unrecorded"] = await outbox_gate.unrecorded_since_finish(connection)
        found["left behind"] = await copied_gate.left_behind(connection)
    return found
