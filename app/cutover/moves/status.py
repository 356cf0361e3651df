"""Where the cutover stands, all of it at one look: for `botdata cutover status`, which changes nothing."""

from dataclasses import dataclass, replace

from psycopg import AsyncConnection

from app.cutover.moves.gates.objection import Objection, bring_back
from app.cutover.moves.gates.objections import objections
from app.cutover.moves.gates.standby_gate import Standbys, read_standbys, server_trouble, warnings
from app.cutover.moves.gates.thresholds import Thresholds
from app.cutover.moves.stage_row import open_cutover
from app.cutover.stages import Stage, Store
from app.cutover.tables import METHODS_TABLES, OWN_AUTHORITY
from app.errors import BotdataError, MigrationError
from app.settings import Settings
from app.state.cutover import backlog
from app.state.cutover.accepted_differences import AcceptedDifference, read_accepted
from app.state.cutover.backlog import Waiting
from app.state.cutover.moves import PastMove, open_move
from app.state.cutover.processes import SILENT_AFTER, Process, read_processes
from app.state.cutover.proofs import synced_ages
from app.state.cutover.stage import StageRow, read_stage_row
from app.state.cutover.table_authority import read_authorities

_STEP = "cutover status"


@dataclass(frozen=True, slots=True)
class Cutover:
    """Where it stands.

    Attributes:
        authorities: the store that each table's writers write to.
        own: the tables of them that do not move with the stage.
        synced: seconds since the last sync from Supabase began at a table; only those that had one.
        standbys: those that follow the target.
        move: one that holds writes, or whose command has ended in the middle.
        objections: what the gate of the next stage has against it; None: it could not be asked.
        unasked: why not.
        accepted: differences that the owner accepts, or did until a day that is over.
    """

    row: StageRow
    authorities: dict[str, Store]
    own: frozenset[str]
    synced: dict[str, float]
    processes: tuple[Process, ...]
    notes: tuple[Waiting, ...]
    outbox: tuple[Waiting, ...]
    standbys: Standbys
    move: PastMove | None
    objections: tuple[Objection, ...] | None
    unasked: str | None
    accepted: tuple[AcceptedDifference, ...]

    @property
    def warnings(self) -> tuple[Objection, ...]:
        """What may be lost at this stage or the next one; it stops no move."""
        return warnings(self.standbys, self.row.stage, self.row.stage.next)

    @property
    def troubles(self) -> tuple[Objection, ...]:
        """What is not well, whatever comes next."""
        found = [one] if (one := server_trouble(self.standbys)) else []
        if self.standbys.is_read_only:
            return tuple(found)  # that processes are silent comes of it
        found += [trouble for process in self.processes for trouble in _troubles(process, self.row)]
        found += [
            Objection(
                f"{one.table}: {one.failed:,} notes of writes that PostgreSQL may not have{one.error_told}",
                f"botdata sync --tables {one.table}",
            )
            for one in self.notes
            if one.failed
        ]
        found += [
            Objection(
                f"{one.table}: {one.failed:,} entries of the outbox could not be sent{one.error_told}",
                "put that right, then: botdata mirror retry",
            )
            for one in self.outbox
            if one.failed
        ]
        return tuple(found)


async def look(settings: Settings, thresholds: Thresholds | None = None) -> Cutover:
    """Read all of it.

    Raises:
        MigrationError: the target cannot be read, or has no tables of a cutover.
    """
    async with open_cutover(settings.require_database_url(), _STEP, pending="nothing is changed by it") as connection:
        seen = await see(connection)
    found, unasked = await ask_gate(settings, seen.row.stage, thresholds)
    return replace(seen, objections=found, unasked=unasked)


async def see(connection: AsyncConnection) -> Cutover:
    """All of it but the gate, which is left unasked: what can be read often."""
    row = await read_stage_row(connection)
    own = await read_authorities(connection, OWN_AUTHORITY)
    authorities = dict.fromkeys(METHODS_TABLES, row.stage.authority) | own
    return Cutover(
        row,
        dict(sorted(authorities.items())),
        frozenset(own),
        await synced_ages(connection),
        await read_processes(connection),
        await backlog.notes(connection),
        await backlog.entries(connection),
        await read_standbys(connection),
        await open_move(connection),
        None,
        "it was not asked",
        await read_accepted(connection),
    )


async def ask_gate(
    settings: Settings, stage: Stage, thresholds: Thresholds | None = None
) -> tuple[tuple[Objection, ...] | None, str | None]:
    """What stands against the stage after this one, and None; or None, and why the gate could not be asked."""
    if stage.next is None:
        return (), None
    try:
        return tuple(await objections(settings, stage.next, thresholds)), None
    except BotdataError as error:
        return None, error.message if isinstance(error, MigrationError) else str(error)


def _troubles(process: Process, row: StageRow) -> list[Objection]:
    if process.silent:
        return [
            Objection(
                f"process {process.name} last reported {process.age:,.0f} s ago, and counts as running at "
                f"{process.stage}",
                bring_back(process.name),
            )
        ]
    found = []
    managed_stage: Stage | None = row.stage if row.moved_at is not None else None
    if managed_stage is not None and process.stage is not managed_stage and process.stage_age > SILENT_AFTER:
        how = "" if process.follows else " with CUTOVER_STAGE=database"
        found.append(
            Objection(
                f"process {process.name} is at {process.stage} by {process.chosen_by}, and the stage is {row.stage}",
                f"restart {process.name}{how}",
            )
        )
    if process.problem is not None:
        found.append(
            Objection(f"process {process.name} says: {process.problem}", "put that right; it reports anew by itself")
        )
    if process.spooled:
        found.append(
            Objection(
                f"process {process.name} keeps {process.spooled:,} notes in its spool file",
                "it brings them in when it reaches PostgreSQL: botdata cutover status",
            )
        )
    return found
