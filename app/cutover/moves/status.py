"""Where the cutover stands, all of it at one look: for `botdata cutover status`, which changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import AsyncConnection

from app.cutover.moves.authorities import read_authorities
from app.cutover.moves.gates.objection import Objection
from app.cutover.moves.gates.objections import objections
from app.cutover.moves.gates.thresholds import Thresholds
from app.cutover.moves.history import PastMove, open_move
from app.cutover.moves.processes import SILENT_AFTER, Process, read_processes
from app.cutover.moves.stage_row import StageRecord, open_cutover, read_stage_row
from app.cutover.stages import Stage, Store
from app.cutover.tables import METHODS_TABLES
from app.errors import BotdataError, MigrationError

if TYPE_CHECKING:
    from app.settings import Settings

_STEP = "cutover status"
_NOTES = """
SELECT table_name, count(*), extract(epoch FROM clock_timestamp() - min(noted_at))::double precision,
count(*) FILTER (WHERE last_error IS NOT NULL OR state = 'unknown'), max(last_error)
FROM botdata.notes GROUP BY table_name ORDER BY table_name
"""
_OUTBOX = """
SELECT table_name, count(*), extract(epoch FROM clock_timestamp() - min(recorded_at))::double precision,
count(*) FILTER (WHERE last_error IS NOT NULL), max(last_error)
FROM botdata.outbox GROUP BY table_name ORDER BY table_name
"""
_SYNCED = """
SELECT table_name, extract(epoch FROM clock_timestamp() - began_at)::double precision FROM botdata.synced_tables
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Notes or entries of a table.

    Attributes:
        oldest: seconds.
        failed: those whose mirror failed, or whose write's outcome is unknown.
    """

    table: str
    count: int
    oldest: float
    failed: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Cutover:
    """Where it stands.

    Attributes:
        authorities: the store that each table's writers write to.
        own: the tables of them that do not move with the stage.
        synced: seconds since the last sync from Supabase began at a table; only those that had one.
        move: one that holds writes, or whose command has ended in the middle.
        objections: what the gate of the next stage has against it; None: it could not be asked.
        unasked: why not.
    """

    row: StageRecord
    authorities: dict[str, Store]
    own: frozenset[str]
    synced: dict[str, float]
    processes: tuple[Process, ...]
    notes: tuple[Waiting, ...]
    outbox: tuple[Waiting, ...]
    move: PastMove | None
    objections: tuple[Objection, ...] | None
    unasked: str | None

    @property
    def troubles(self) -> tuple[Objection, ...]:
        """What is not well, whatever comes next."""
        found = [trouble for process in self.processes for trouble in _troubles(process, self.row)]
        found += [
            Objection(
                f"{one.table}: {one.failed:,} notes of writes that PostgreSQL may not have"
                + (f" (last error: {one.last_error})" if one.last_error else ""),
                f"botdata sync --tables {one.table}",
            )
            for one in self.notes
            if one.failed
        ]
        found += [
            Objection(
                f"{one.table}: {one.failed:,} entries of the outbox could not be sent (last error: {one.last_error})",
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
        row = await read_stage_row(connection)
        own = await read_authorities(connection)
        authorities = dict.fromkeys(METHODS_TABLES, row.stage.authority) | own
        processes = await read_processes(connection)
        synced = dict(await (await connection.execute(_SYNCED)).fetchall())
        notes, outbox = await _waiting(connection, _NOTES), await _waiting(connection, _OUTBOX)
        move = await open_move(connection)
    found: tuple[Objection, ...] | None = ()
    unasked = None
    if row.stage.next is not None:
        try:
            found = tuple(await objections(settings, row.stage.next, thresholds))
        except BotdataError as error:
            found, unasked = None, error.message if isinstance(error, MigrationError) else str(error)
    return Cutover(
        row, dict(sorted(authorities.items())), frozenset(own), synced, processes, notes, outbox, move, found, unasked
    )


async def _waiting(connection: AsyncConnection, statement: str) -> tuple[Waiting, ...]:
    return tuple([Waiting(*row) for row in await (await connection.execute(statement.encode())).fetchall()])


def _troubles(process: Process, row: StageRecord) -> list[Objection]:
    if process.silent:
        return [
            Objection(
                f"process {process.name} last reported {process.age:,.0f} s ago, and counts as running at "
                f"{process.stage}",
                f"bring it back, or stop it; if it has ended: botdata cutover forget {process.name}",
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
