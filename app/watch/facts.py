"""The facts that botdata watch shows, as the target has them at a moment."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from psycopg import AsyncConnection

from app.cutover.moves.gates.objection import Objection
from app.cutover.moves.status import Cutover, see
from app.cutover.stages import Stage
from app.migration.runs.status import Status, status_of
from app.state.cutover.proofs import synced_ages
from app.state.sync_progress import SyncProgress, read_progress
from app.watch.compared import Compared

_RUNS = 20  # the newest
NOT_YET = "it is being read"


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate of the stage after `stage` said, as `app.cutover.moves.status.ask_gate` tells it."""

    stage: Stage
    objections: tuple[Objection, ...] | None
    unasked: str | None
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is shown.

    Attributes:
        seen_at: when the target was read, by this machine's clock; None: it never was.
        trouble: why it cannot be read now; what is here is then of `seen_at`.
        status: the runs; None: it was never read.
        cutover: None where the target has no such tables, or the tables are not the bot's.
        synced: seconds since the last sync began at each table that had one.
        syncing: how far the sync that is at work has come.
        gate_asked_at: when the gate of the next stage answered; None: it has not yet.
        compared: answers compared in the last hour.
    """

    seen_at: datetime | None = None
    trouble: str | None = NOT_YET
    status: Status | None = None
    cutover: Cutover | None = None
    synced: dict[str, float] = field(default_factory=dict)
    syncing: tuple[SyncProgress, ...] = ()
    gate_asked_at: datetime | None = None
    compared: Compared = field(default_factory=Compared)

    @property
    def ok(self) -> bool:
        """Whether the target can be read and nothing is wrong with the stage that it is at."""
        return self.trouble is None and not (self.cutover and self.cutover.troubles)

    @property
    def stage(self) -> Stage | None:
        """Where the cutover stands; None where there is none."""
        return self.cutover.row.stage if self.cutover else None

    def with_gate(self, gate: Gate | None) -> "Facts":
        """The same, with what the gate said, if it was asked at this stage."""
        if self.cutover is None or gate is None or gate.stage is not self.stage:
            return self
        asked = replace(self.cutover, objections=gate.objections, unasked=gate.unasked)
        return replace(self, cutover=asked, gate_asked_at=gate.asked_at)


async def look(connection: AsyncConnection, compared: Compared, *, with_stages: bool) -> Facts:
    """Read it, in a few cheap statements; the gate is not asked.

    Args:
        compared: what was read before, which is brought up to date.
        with_stages: the tables are the bot's, whose stages can be moved.

    Raises:
        MigrationError: another version of the tool made its schema in the target.
        psycopg.Error: the target cannot be read.
    """
    status = await status_of(connection)
    cutover = None
    if status.installed and with_stages:
        cutover = await see(connection)
        await compared.update(connection)
    return Facts(
        seen_at=datetime.now(UTC),
        trouble=None,
        status=replace(status, runs=status.runs[:_RUNS]),
        cutover=cutover,
        synced=await synced_ages(connection) if status.installed else {},
        syncing=await read_progress(connection) if status.installed else (),
        compared=compared,
    )
