"""The handover: moves the authority from one store to the other while no process writes.

A move in state 'holding' asks every process to hold its writes. When all of them report that they do, and every mirror
is settled, one transaction ends the move and moves the stage, if the time is not up. A process that finds the time up
ends the move itself, with a conditional UPDATE of the same row: so either the stage moves, or the old one resumes.

Where a synchronous standby is away, a commit neither ends nor fails. So the standby is tried before the stage is
written. Where it goes away just then, the barrier stays until it is known what became of the move.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable, UniqueViolation

from app.cutover.moves.gates.copied_gate import not_past
from app.cutover.moves.gates.objection import Objection, bring_back
from app.cutover.moves.stage_row import LET_IT_END, UNCHANGED, MoveUnknownError, kept, lock_stage_row, require_standby
from app.cutover.stages import Stage, Store
from app.errors import MigrationError
from app.migration.target.target_session import open_target
from app.next_step import Command, NextStep
from app.state.cutover import backlog, moves
from app.state.cutover.processes import Process, read_processes
from app.state.cutover.proofs import last_left
from app.state.cutover.stage import lock_holders, move_stage, read_stage_row
from app.state.streams import clock

_LOOK_EVERY = 0.05  # seconds
_SILENT = 1.0  # seconds until the server ends the last transaction of a command that hangs
_LAST_WORD = 3.0  # seconds, to give a move up on a connection of its own
_AGAIN = "run it again; a longer CUTOVER_HOLD gives more time"


_TIME_WAS_UP = Objection("nothing by name: the time was up between two looks", _AGAIN)


@dataclass(frozen=True, slots=True)
class Crossing:
    """A move of the authority.

    Attributes:
        hold: seconds that the processes hold writes at most.
        reason: why it is forced.
        said: the reasons against it that were passed over.
        drops_outbox: entries in the outbox do not stop it, and are dropped: Supabase does not get these writes.
        passes_streams: a change stream that stands still does not stop it.
        last_left: when a write was last left to a sync, or a process forgotten, before the gates looked; None:
            they were not asked.
    """

    kind: str
    before: Stage
    to: Stage
    hold: float
    reason: str | None = None
    said: str | None = None
    drops_outbox: bool = False
    passes_streams: bool = False
    last_left: str | None = None

    @property
    def step(self) -> str:
        """The command."""
        return f"cutover {self.kind}"


async def cross(url: str, connection: AsyncConnection, crossing: Crossing) -> tuple[Objection, ...]:
    """Move the authority; nothing has moved where something was late.

    Args:
        connection: to the target; the move is given up on another one when this one fails.

    Raises:
        MigrationError: another move is under way, or it is not known whether the stage has moved.
    """
    await require_standby(connection, step=crossing.step)
    handover = Handover(url, connection, crossing)
    await handover.begin()
    return await handover.carry_out()


class Handover:
    """A move of the authority that is under way."""

    def __init__(self, url: str, connection: AsyncConnection, crossing: Crossing) -> None:
        self._url = url
        self._connection = connection
        self._crossing = crossing
        self._number = 0  # of the move, once it has begun
        self._still_since: datetime | None = None  # all processes, by the target's clock; None: they are not yet

    async def begin(self) -> None:
        """Ask every process to hold its writes."""
        connection, crossing = self._connection, self._crossing
        try:
            async with kept(self._url, connection, step=crossing.step):
                # FOR SHARE: a step of another command, which takes it FOR UPDATE, comes wholly before or wholly after.
                row = await lock_stage_row(connection, "FOR SHARE", step=crossing.step)
                await moves.give_up_expired(connection)
                if row.stage is not crossing.before:
                    raise moved_meanwhile(crossing.step, crossing.before, row.stage)
                self._number = await moves.begin_move(
                    connection,
                    crossing.kind,
                    (crossing.before, crossing.to),
                    hold=crossing.hold,
                    reason=crossing.reason,
                    said=crossing.said,
                )
        except UniqueViolation as error:
            if error.diag.constraint_name != moves.ONE_MOVE:
                raise
            raise await under_way(connection, crossing.step) from None
        except MoveUnknownError:
            raise
        except BaseException:
            if self._number:  # stopped at the commit, which may have been made
                await asyncio.shield(self._settle())
            raise

    async def carry_out(self) -> tuple[Objection, ...]:
        """Wait until all is still, and move; what was late, so that nothing has moved."""
        try:
            late = await self._hold()
            if late and not await moves.give_up(self._connection, self._number, "; ".join(one.what for one in late)):
                late = late if not await moves.is_done(self._connection, self._number) else ()
        except MoveUnknownError:
            raise
        except BaseException as error:
            if not await asyncio.shield(self._settle()):
                raise
            if not isinstance(error, psycopg.Error):  # stopped by a person, too late
                raise MigrationError(
                    f"stopped, but the stage had moved to {self._crossing.to} already",
                    step=self._crossing.step,
                    pending="nothing of the move; the processes were not waited for",
                    next_step=NextStep(Command("cutover status")),
                ) from error
            late = ()
        return late

    async def _hold(self) -> tuple[Objection, ...]:
        """Wait until all is still, and move; what was late, where the time ran out."""
        late: tuple[Objection, ...] = ()
        while True:
            remaining = await moves.seconds_left(self._connection, self._number)
            if remaining is None or remaining <= 0:
                return late or await self._late() or (_TIME_WAS_UP,)
            late = await self._late()
            if not late:
                late = await self._move(remaining)
                if not late:
                    return ()
            await asyncio.sleep(_LOOK_EVERY)

    async def _move(self, remaining: float) -> tuple[Objection, ...]:
        """End the move and move the stage, in one transaction, if all is still and the time is not up."""
        connection, crossing = self._connection, self._crossing
        await require_standby(connection, step=crossing.step)
        milliseconds = max(1, int(remaining * 1000))
        try:
            async with kept(self._url, connection, step=crossing.step):
                # The last one: should this command hang, the server ends its transaction, and the old stage resumes.
                await connection.execute(
                    f"SET LOCAL lock_timeout = {milliseconds}; SET LOCAL statement_timeout = {milliseconds + 1000}; "
                    f"SET LOCAL idle_in_transaction_session_timeout = {int(_SILENT * 1000)}".encode()
                )
                await read_stage_row(connection, lock="FOR UPDATE")  # after every write and every sender
                late = await self._late()
                if late or not await moves.end_move(connection, self._number):
                    raise _NotYetError(late or (_TIME_WAS_UP,))
                if crossing.drops_outbox:
                    await backlog.drop_entries(connection)
                await move_stage(connection, crossing.to)
        except _NotYetError as error:
            return error.late
        except LockNotAvailable:
            holders = await lock_holders(connection)
            return (Objection(f"a transaction that holds the stage: {holders}", f"{LET_IT_END}; then again"),)
        return ()

    async def _late(self) -> tuple[Objection, ...]:
        """Who or what is not still; when all are, the change streams that are not past the last write yet."""
        connection, crossing = self._connection, self._crossing
        forward = crossing.to.authority is Store.POSTGRES
        late = []
        for process in await read_processes(connection):
            if process.held_move != self._number:
                late.append(_late_process(process))
            elif forward and process.spooled:
                late.append(
                    Objection(
                        f"process {process.name}: {process.spooled:,} notes in its spool file",
                        "they are brought in by the process itself; look at: botdata cutover status",
                    )
                )
        if forward and crossing.last_left is not None and await last_left(connection) != crossing.last_left:
            late.append(
                Objection(
                    "since the gates looked a process was forgotten, or a write was left to a sync",
                    "botdata sync, botdata verify, then again",
                )
            )
        late += await (_notes(connection) if forward else _entries(connection, crossing))
        if late:
            self._still_since = None
        elif forward and not crossing.passes_streams:
            self._still_since = self._still_since or await clock(connection)
            late += await not_past(connection, self._still_since)
        return tuple(late)

    async def _settle(self) -> bool:
        """After a failure: give the move up on a connection of its own; whether it had been done all the same."""
        crossing = self._crossing
        with suppress(MigrationError, psycopg.Error, TimeoutError):
            async with asyncio.timeout(_LAST_WORD), open_target(self._url, step=crossing.step) as connection:
                await moves.give_up(connection, self._number, "its command failed or was stopped")
                return await moves.is_done(connection, self._number)
        raise MigrationError(
            f"the target does not answer, so it is not known whether the stage has moved to {crossing.to}; if it has "
            f"not, the processes resume {crossing.before} when the hold of {crossing.hold:g} s is over",
            step=crossing.step,
            pending="perhaps all of the move",
            next_step=NextStep("when the target is back: ", Command("cutover status")),
        )


class _NotYetError(Exception):
    """Rolls the last transaction back."""

    def __init__(self, late: tuple[Objection, ...]) -> None:
        super().__init__("not yet")
        self.late = late


def _late_process(process: Process) -> Objection:
    if process.silent:
        return Objection(
            f"process {process.name}: no report for {process.age:,.0f} s",
            bring_back(process.name),
        )
    counts = {"calls in flight": process.in_flight, "mirrors pending": process.pending}
    doing = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
    return Objection(
        f"process {process.name}: did not hold its writes in time ({doing or 'nothing in flight'})", _AGAIN
    )


async def _notes(connection: AsyncConnection) -> list[Objection]:
    return [
        Objection(
            f"{left.table}: {left.count:,} notes whose rows PostgreSQL may not have{left.error_told}",
            "botdata sync, botdata verify, then again",
        )
        for left in await backlog.notes(connection)
    ]


async def _entries(connection: AsyncConnection, crossing: Crossing) -> list[Objection]:
    if crossing.drops_outbox:
        return []
    return [
        Objection(
            f"{left.table}: {left.count:,} entries in the outbox, not known to be in Supabase{left.error_told}",
            "botdata mirror drain, then again",
        )
        for left in await backlog.entries(connection)
    ]


async def under_way(connection: AsyncConnection, step: str) -> MigrationError:
    """What to say beside another command's move."""
    other = await moves.open_move(connection)
    told = f": {other.label}, by {other.done_by}, begun at {other.begun_at}" if other else ""
    wait = max(1.0, other.remaining or 0.0) if other else 1.0
    return MigrationError(
        f"another move is under way{told}",
        step=step,
        pending=f"all of it; {UNCHANGED}",
        next_step=NextStep(Command("cutover status"), f"; it ends within {wait:.0f} s, then: ", Command(step)),
    )


def moved_meanwhile(step: str, before: Stage, now: Stage) -> MigrationError:
    """What to say when another command was faster."""
    return MigrationError(
        f"another command has moved the stage meanwhile: from {before} to {now}",
        step=step,
        pending="all of it; this command changed nothing",
        next_step=NextStep(Command("cutover status")),
    )
