"""Table `processes`: what each process of the bot writes of itself, and what it reads of the stage with it."""

import json
import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from sqlalchemy.ext.asyncio import AsyncConnection as PooledConnection

from app.cutover.stages import Stage
from app.flags import FOLLOW
from app.state.cutover.stage import COLUMNS, READ, READ_IN_TURN, StageRow
from app.state.cutover.standby_reads import StandbyReads
from app.state.schema_name import SCHEMA

SILENT_AFTER = 5.0  # seconds without a report; a process reports every second
FOLLOWS = f"CUTOVER_STAGE={FOLLOW}"  # the setting by which a process follows the stage's row
TAKE_AWAY = f"DELETE FROM {SCHEMA}.processes WHERE name = %(process)s"
_REPORT_AND_READ = f"""
WITH mine AS (
    UPDATE {SCHEMA}.processes SET
        stage = %(stage)s, stage_since = CASE stage WHEN %(stage)s THEN stage_since ELSE clock_timestamp() END,
        reported_at = clock_timestamp(), held_move = %(held_move)s, in_flight = %(in_flight)s,
        pending_mirrors = %(pending)s, spooled = %(spooled)s, problem = %(problem)s,
        standby_reads = CAST(%(reads)s AS json)
    -- A report must not wait for a standby that is away: the next one says the same.
    WHERE name = %(process)s AND set_config('synchronous_commit', 'local', true) <> '' RETURNING name
)
SELECT {COLUMNS}, EXISTS (SELECT FROM mine),
    m.id, CAST(extract(epoch FROM m.hold_until - clock_timestamp()) AS float8)
FROM ({READ}) s LEFT JOIN {SCHEMA}.moves m ON m.state = 'holding'
"""
_READ = f"""
SELECT name, stage, chosen_by, extract(epoch FROM clock_timestamp() - reported_at)::double precision,
extract(epoch FROM clock_timestamp() - stage_since)::double precision, held_move, in_flight, pending_mirrors, spooled,
problem, standby_reads FROM {SCHEMA}.processes ORDER BY name
"""


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
        reads: None: it has no standbys.
    """

    process: str
    stage: Stage
    held_move: int | None
    in_flight: int
    counts: WriterCounts
    reads: StandbyReads | None = None


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


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the bot that has not said goodbye, as it reports itself.

    Attributes:
        chosen_by: the setting that its stage comes from.
        age: seconds since its last report.
        stage_age: seconds that it has been at its stage.
        held_move: the move for which it holds its writes, with none in flight.
        in_flight: writes that it is carrying out.
        pending: mirrors that are not settled.
        spooled: notes in its spool file.
        problem: what it says of itself.
        reads: by standbys and by the primary; None: it has no standbys.
    """

    name: str
    stage: Stage
    chosen_by: str
    age: float
    stage_age: float
    held_move: int | None
    in_flight: int
    pending: int
    spooled: int
    problem: str | None
    reads: StandbyReads | None = None

    @property
    def silent(self) -> bool:
        """Whether it has stopped reporting."""
        return self.age > SILENT_AFTER

    @property
    def follows(self) -> bool:
        """Whether it follows the row; its environment fixes its stage otherwise."""
        return self.chosen_by == FOLLOWS


def process_name() -> str:
    """A name for this process: host, number and six random digits."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


async def register(connection: PooledConnection, process: str, stage: Stage, chosen_by: str, age: float) -> None:
    """Add the process's row, while no move can end; `age` is how many seconds the process runs already."""
    await connection.exec_driver_sql(READ_IN_TURN)
    await connection.exec_driver_sql(
        f"INSERT INTO {SCHEMA}.processes (name, stage, chosen_by, began_at) SELECT %(process)s, %(stage)s, "
        "%(chosen_by)s, clock_timestamp() - make_interval(secs => %(age)s) ON CONFLICT (name) DO NOTHING",
        {"process": process, "stage": stage.value, "chosen_by": chosen_by, "age": age},
    )


async def report_and_read(connection: PooledConnection, report: Report) -> StageReading:
    """Write the report into the process's row, if that is there, and read the stage: one statement."""
    counts = report.counts
    given = {
        "process": report.process,
        "stage": report.stage.value,
        "held_move": report.held_move,
        "in_flight": report.in_flight,
        "pending": counts.pending,
        "spooled": counts.spooled,
        "problem": counts.problem,
        "reads": None if report.reads is None else json.dumps(report.reads.document()),
    }
    reading: Sequence[Any] = (await connection.exec_driver_sql(_REPORT_AND_READ, given)).one()
    *row, registered, move, seconds = reading
    return StageReading(
        StageRow.of(row),
        registered,
        None if move is None else HeldMove(move, float("inf") if seconds is None else seconds),
    )


async def followers(connection: PooledConnection, process: str) -> list[str]:
    """The names of the other processes that follow the stage's row."""
    names = await connection.exec_driver_sql(
        f"SELECT name FROM {SCHEMA}.processes WHERE chosen_by = %(follows)s AND name <> %(process)s ORDER BY name",
        {"follows": FOLLOWS, "process": process},
    )
    return list(names.scalars())


async def read_processes(connection: AsyncConnection) -> tuple[Process, ...]:
    """All of them, in the order of their names."""
    rows = await (await connection.execute(_READ)).fetchall()
    return tuple(Process(*[row[0], Stage(row[1]), *row[2:-1], StandbyReads.of(row[-1])]) for row in rows)
