"""What a bot process writes of itself into `botdata.processes`, and what it reads of the stage with it."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.cutover.fencing import StageRow
from app.cutover.locks import IN_TURN
from app.cutover.stages import Stage

_LOCK_STAGE = text(f"SELECT FROM botdata.stage WHERE {IN_TURN} FOR SHARE")
_REGISTER = text(
    "INSERT INTO botdata.processes (name, stage, chosen_by, began_at) SELECT :process, :stage, :chosen_by, "
    "clock_timestamp() - make_interval(secs => :age) ON CONFLICT (name) DO NOTHING"
)
_REPORT_AND_READ = text("""
WITH mine AS (
    UPDATE botdata.processes SET
        stage = :stage, stage_since = CASE stage WHEN :stage THEN stage_since ELSE clock_timestamp() END,
        reported_at = clock_timestamp(), held_move = :held_move, in_flight = :in_flight,
        pending_mirrors = :pending, spooled = :spooled, problem = :problem
    WHERE name = :process RETURNING name
)
SELECT s.stage, s.moved_at IS NOT NULL, s.finished_at IS NOT NULL, EXISTS (SELECT FROM mine),
    m.id, CAST(extract(epoch FROM m.hold_until - clock_timestamp()) AS float8)
FROM botdata.stage s LEFT JOIN botdata.moves m ON m.state = 'holding'
""")
# Either this or the move's own last statement comes first; the other one then finds the move ended.
_GIVE_UP = text(
    "UPDATE botdata.moves SET state = 'given up', ended_at = clock_timestamp(), said = 'its time was up' "
    "WHERE id = :move AND state = 'holding' AND hold_until < clock_timestamp()"
)
_FOLLOWERS = text("SELECT name FROM botdata.processes WHERE chosen_by = :chosen_by AND name <> :process ORDER BY name")
_GOODBYE = text("DELETE FROM botdata.processes WHERE name = :process")


class WriterCounts(NamedTuple):
    """What the writers have left to do.

    Attributes:
        pending: mirrors that have not settled.
        spooled: notes in the spool file.
        problem: what the owner should know, in a sentence.
    """

    pending: int = 0
    spooled: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a process says of itself.

    Attributes:
        stage: the stage that it is at; an older one while a write is in flight that began there.
        held_move: it holds its writes for this move, and nothing is in flight.
    """

    process: str
    stage: Stage
    held_move: int | None
    in_flight: int
    counts: WriterCounts


class HeldMove(NamedTuple):
    """A move that asks for the writes to be held, and the seconds until it is given up."""

    id: int
    seconds: float


class StageReading(NamedTuple):
    """What was read, all of it at one moment.

    Attributes:
        registered: the process's own row is there.
        move: the move that asks for a hold, if there is one.
    """

    row: StageRow
    registered: bool
    move: HeldMove | None


def process_name() -> str:
    """A name for this process: host, number and six random digits."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


async def register(connection: AsyncConnection, process: str, stage: Stage, chosen_by: str, age: float) -> None:
    """Add the process's row, while no move can end; `age` is how many seconds the process runs already."""
    await connection.execute(_LOCK_STAGE)
    await connection.execute(_REGISTER, {"process": process, "stage": stage.value, "chosen_by": chosen_by, "age": age})


async def report_and_read(connection: AsyncConnection, report: Report) -> StageReading:
    """Write the report into the process's row, if that is there, and read the stage: one statement."""
    counts = report.counts
    row = (
        await connection.execute(
            _REPORT_AND_READ,
            {
                "process": report.process,
                "stage": report.stage.value,
                "held_move": report.held_move,
                "in_flight": report.in_flight,
                "pending": counts.pending,
                "spooled": counts.spooled,
                "problem": counts.problem,
            },
        )
    ).one()
    stage, managed, finished, registered, move, seconds = row
    return StageReading(
        StageRow(Stage(stage), managed, finished),
        registered,
        None if move is None else HeldMove(move, float("inf") if seconds is None else seconds),
    )


async def give_up(connection: AsyncConnection, move: int) -> None:
    """End a move whose time is up, unless it has ended."""
    await connection.execute(_GIVE_UP, {"move": move})


async def followers(connection: AsyncConnection, chosen_by: str, process: str) -> list[str]:
    """The names of the other processes whose stage was chosen in this way."""
    return list((await connection.execute(_FOLLOWERS, {"chosen_by": chosen_by, "process": process})).scalars())


async def say_goodbye(connection: AsyncConnection, process: str) -> None:
    """Take the process's row away."""
    await connection.execute(_GOODBYE, {"process": process})
