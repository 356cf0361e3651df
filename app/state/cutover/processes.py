"""Table `processes`: what each process of the bot writes of itself, and what it reads of the stage with it."""

import json
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.common.schemas import Schemas
from app.cutover.stages import Stage
from app.flags import FOLLOW
from app.state.cutover.stage import COLUMNS, READ, READ_IN_TURN, StageRow
from app.state.cutover.standby_reads import StandbyReads
from app.state.fetching import Connection, fetch_column, fetch_row, fetch_rows
from app.state.schema_name import SCHEMA

SILENT_AFTER = 5.0  # seconds without a report; a process reports twice a second, or every two for many salons
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
LOCK_TIMEOUT = "55P03"
# And keep no one waiting: a statement on many salons holds the locks of all of them.
_DO_NOT_WAIT = (
    "SELECT set_config('lock_timeout', '200ms', true), set_config('idle_in_transaction_session_timeout', '2s', true)"
)
# For many salons: what looks whether anything is new in their schemas, and what writes their processes' reports.
_SEE = f"""
SELECT '<data schema>' AS salon, {COLUMNS}, EXISTS (SELECT FROM {SCHEMA}.processes WHERE name = %(process)s),
    (SELECT max(id) FROM {SCHEMA}.moves WHERE state = 'holding')
FROM ({READ}) s
"""
_REPORTS = """
WITH reports AS MATERIALIZED (
    SELECT * FROM json_to_recordset(CAST(%(reports)s AS json)) AS r (salon text, process text, stage text,
        held_move bigint, in_flight integer, pending integer, spooled integer, problem text, reads json)
)"""
_REPORT = f"""
, {{name}} AS (
    UPDATE {SCHEMA}.processes p SET
        stage = r.stage, stage_since = CASE p.stage WHEN r.stage THEN p.stage_since ELSE clock_timestamp() END,
        reported_at = clock_timestamp(), held_move = r.held_move, in_flight = r.in_flight,
        pending_mirrors = r.pending, spooled = r.spooled, problem = r.problem, standby_reads = r.reads
    FROM reports r WHERE r.salon = '<data schema>' AND p.name = r.process
    AND set_config('synchronous_commit', 'local', true) <> '' RETURNING r.salon
)"""
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

    def document(self) -> dict[str, Any]:
        """What goes into the process's row."""
        return {
            "process": self.process,
            "stage": self.stage.value,
            "held_move": self.held_move,
            "in_flight": self.in_flight,
            **self.counts._asdict(),
            "reads": None if self.reads is None else self.reads.document(),
        }


class HeldMove(NamedTuple):
    """A move that asks for the writes to be held, and the seconds until it is given up."""

    id: int
    seconds: float


class Sight(NamedTuple):
    """What one who looks for many schemas sees in one of them, to be compared with what was seen before.

    Attributes:
        stage: its row.
        registered: the process's own row is there.
        move: the number of the move that asks for a hold, if there is one.
    """

    stage: tuple[Any, ...]
    registered: bool
    move: int | None

    def is_quiet(self, known: StageRow | None) -> bool:
        """Whether there is nothing new for one who has read this row of the stage."""
        return self.registered and self.move is None and StageRow.of(self.stage) == known


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


async def register(connection: Connection, process: str, stage: Stage, chosen_by: str, age: float) -> None:
    """Add the process's row, while no move can end; `age` is how many seconds the process runs already."""
    await connection.execute(READ_IN_TURN)
    await connection.execute(
        f"INSERT INTO {SCHEMA}.processes (name, stage, chosen_by, began_at) SELECT %(process)s, %(stage)s, "
        "%(chosen_by)s, clock_timestamp() - make_interval(secs => %(age)s) ON CONFLICT (name) DO NOTHING",
        {"process": process, "stage": stage.value, "chosen_by": chosen_by, "age": age},
    )


async def report_and_read(connection: Connection, report: Report) -> StageReading:
    """Write the report into the process's row, if that is there, and read the stage: one statement."""
    given = report.document()
    given["reads"] = None if report.reads is None else json.dumps(given["reads"])
    *row, registered, move, seconds = await fetch_row(connection, _REPORT_AND_READ, given)
    return StageReading(
        StageRow.of(row),
        registered,
        None if move is None else HeldMove(move, float("inf") if seconds is None else seconds),
    )


def seeing(schemas: Sequence[Schemas]) -> str:
    """The statement of `see`, which is worth keeping."""
    return " UNION ALL ".join(each.named(_SEE) for each in schemas)


async def see(connection: Connection, statement: str, process: str) -> dict[str, Sight]:
    """What a look would find in each of the schemas of a statement of `seeing` that has its row, by the schema's name.

    Raises:
        StoreTimeoutError: with LOCK_TIMEOUT for its SQLSTATE, a table of one of them is locked.
    """
    await connection.execute(_DO_NOT_WAIT)
    rows = await fetch_rows(connection, statement, {"process": process})
    return {row[0]: Sight(tuple(row[1:-2]), row[-2], row[-1]) for row in rows}


async def report_all(connection: Connection, reports: Mapping[Schemas, Report]) -> set[str]:
    """Write a report into each schema; the names of those where the process's row was there. Errors as of `see`."""
    await connection.execute(_DO_NOT_WAIT)
    parts = {f"mine_{number}": each for number, each in enumerate(reports)}
    statement = _REPORTS + "".join(each.named(_REPORT.format(name=name)) for name, each in parts.items())
    statement += " UNION ALL ".join(f" SELECT salon FROM {name}" for name in parts)
    documents = [{"salon": each.data, **report.document()} for each, report in reports.items()]
    return set(await fetch_column(connection, statement, {"reports": json.dumps(documents)}))


async def followers(connection: Connection, process: str) -> list[str]:
    """The names of the other processes that follow the stage's row."""
    return await fetch_column(
        connection,
        f"SELECT name FROM {SCHEMA}.processes WHERE chosen_by = %(follows)s AND name <> %(process)s ORDER BY name",
        {"follows": FOLLOWS, "process": process},
    )


async def read_processes(connection: Connection) -> tuple[Process, ...]:
    """All of them, in the order of their names."""
    rows = await fetch_rows(connection, _READ)
    return tuple(Process(*[row[0], Stage(row[1]), *row[2:-1], StandbyReads.of(row[-1])]) for row in rows)
