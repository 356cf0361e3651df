"""Moves of the stage by one step: after the gates have agreed, and with a barrier where the authority moves."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic

from psycopg import AsyncConnection

from app.common.schemas import schemas_of
from app.cutover.moves.gates.id_gap import raise_sequences
from app.cutover.moves.gates.objection import Objection
from app.cutover.moves.gates.objections import objections as objections_to
from app.cutover.moves.gates.standby_gate import read_standbys, warnings
from app.cutover.moves.gates.thresholds import Thresholds
from app.cutover.moves.handover import Crossing, cross, moved_meanwhile, under_way
from app.cutover.moves.stage_row import UNCHANGED, kept, lock_stage_row, open_cutover, require_standby
from app.cutover.stages import Stage
from app.errors import SettingsError, StoreError
from app.settings import Settings
from app.state.cutover.moves import give_up_expired, open_move, record
from app.state.cutover.processes import Process, read_processes
from app.state.cutover.proofs import last_left
from app.state.cutover.stage import StageRow, move_stage, read_stage_row, refuse_moved_out

_FOLLOW_WITHIN = 5.0  # seconds that processes may take to report the new stage; they follow within two
_LOOK_EVERY = 0.1
Sending = Callable[[], Awaitable[Objection | None]]


@dataclass(frozen=True, slots=True)
class MoveOutcome:
    """What came of a move.

    Attributes:
        kind: "advance" or "back".
        to: the stage to move to; None: there is none further.
        moved: the stage stands at `to`.
        objections: the reasons against it, whether they stopped it or were passed over by force.
        warnings: what may be lost at the stages on either side of it; they stop nothing.
        late: who or what was late at the barrier, so that the old stage has resumed.
        behind: processes that do not report the new stage, as they report themselves.
    """

    kind: str
    before: Stage
    to: Stage | None
    moved: bool = False
    dry_run: bool = False
    forced: bool = False
    objections: tuple[Objection, ...] = ()
    warnings: tuple[Objection, ...] = ()
    late: tuple[Objection, ...] = ()
    behind: tuple[Process, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all is well: it moved and every process follows, or nothing stands against a move not yet made."""
        if self.dry_run:
            return self.to is not None and not self.objections
        return self.moved and not self.behind


async def advance(
    settings: Settings,
    *,
    thresholds: Thresholds | None = None,
    force: str | None = None,
    dry_run: bool = False,
    seen: Stage | None = None,
) -> MoveOutcome:
    """One stage on.

    Args:
        thresholds: how much proof is enough.
        force: the reason to pass over what stands against it.
        dry_run: only find that.
        seen: the stage that the person who moves it saw; another one now is an error.

    Raises:
        MigrationError: the target cannot be used, another move is under way, or the stage is not the one seen.
    """
    return await _move(settings, "advance", thresholds=thresholds, force=force, dry_run=dry_run, seen=seen)


async def back(
    settings: Settings,
    *,
    send: Sending | None = None,
    force: str | None = None,
    dry_run: bool = False,
    seen: Stage | None = None,
) -> MoveOutcome:
    """One stage back.

    Args:
        send: sends to Supabase what was recorded at `complete`; what of it could not be sent. By default the processes
            send it, after the move.
        force, dry_run, seen: as for `advance`; so are the errors.
    """
    return await _move(settings, "back", send=send, force=force, dry_run=dry_run, seen=seen)


async def _move(
    settings: Settings,
    kind: str,
    *,
    thresholds: Thresholds | None = None,
    send: Sending | None = None,
    force: str | None,
    dry_run: bool,
    seen: Stage | None,
) -> MoveOutcome:
    url, step = settings.require_database_url(), f"cutover {kind}"
    async with open_cutover(url, step) as connection:
        await give_up_expired(connection)
        if await open_move(connection):
            raise await under_way(connection, step)
        row = await read_stage_row(connection)
        refuse_moved_out(row, schemas_of(connection), step=step, pending=UNCHANGED)
        if seen is not None and row.stage is not seen:
            raise moved_meanwhile(step, seen, row.stage)
        to = row.stage.next if kind == "advance" else row.stage.previous
        if to is None:
            return MoveOutcome(kind, row.stage, None, dry_run=dry_run)
        unsent = None if dry_run else await _prepare(settings, row, to, send)
        left = await last_left(connection)
        objections = [*await objections_to(settings, to, thresholds, step=step), *([unsent] if unsent else [])]
        outcome = MoveOutcome(
            kind,
            row.stage,
            to,
            dry_run=dry_run,
            forced=force is not None,
            objections=tuple(objections),
            warnings=warnings(await read_standbys(connection), to),
        )
        if dry_run or (objections and force is None):
            return outcome
        said = "; ".join(one.what for one in objections) or None
        if row.stage.authority is to.authority:
            await _step(url, connection, kind, row, to, reason=force, said=said)
        else:
            drops = any(one.loses_outbox for one in objections)
            crossing = Crossing(
                kind,
                row.stage,
                to,
                settings.cutover_hold,
                force,
                said,
                drops_outbox=drops,
                passes_streams=any(one.of_stream for one in objections),
                last_left=left,
            )
            if late := await cross(url, connection, crossing):
                return replace(outcome, late=late)
    return replace(outcome, moved=True, behind=await _behind(url, step, to))


async def _prepare(settings: Settings, row: StageRow, to: Stage, send: Sending | None) -> Objection | None:
    """Do first what a move needs and what is safe to do at any time; what stands against the move since."""
    if to is Stage.LIVE and row.stage is Stage.SHADOW:
        with suppress(StoreError, SettingsError):  # the gate says it, too
            await raise_sequences(settings)
    if row.stage is Stage.COMPLETE and row.finished_at is None and send is not None:
        return await send()
    return None


async def _step(
    url: str, connection: AsyncConnection, kind: str, seen: StageRow, to: Stage, *, reason: str | None, said: str | None
) -> None:
    """Move the stage where the authority stays."""
    await require_standby(connection, step=f"cutover {kind}")
    async with kept(url, connection, step=f"cutover {kind}"):
        row = await lock_stage_row(connection, "FOR UPDATE", step=f"cutover {kind}")  # after the writes in flight
        if row != seen:
            raise moved_meanwhile(f"cutover {kind}", seen.stage, row.stage)
        if await open_move(connection):
            raise await under_way(connection, f"cutover {kind}")
        await move_stage(connection, to)
        await record(connection, kind, stages=(seen.stage, to), reason=reason, said=said)


async def _behind(url: str, step: str, to: Stage) -> tuple[Process, ...]:
    """Wait until every process reports the stage; those that do not."""
    until = monotonic() + _FOLLOW_WITHIN
    async with open_cutover(url, step, pending=f"nothing of the move: the stage is {to}") as connection:
        while True:
            behind = tuple(process for process in await read_processes(connection) if process.stage is not to)
            if not behind or monotonic() > until:
                return behind
            await asyncio.sleep(_LOOK_EVERY)
