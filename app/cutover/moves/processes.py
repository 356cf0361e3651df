"""The bot's processes as they report themselves in the target."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import AsyncConnection

from app.cutover.stages import Stage
from app.flags import FOLLOW

SILENT_AFTER = 5.0  # seconds without a report; a process reports every second
_FOLLOWING = f"CUTOVER_STAGE={FOLLOW}"


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the bot that has not said goodbye.

    Attributes:
        chosen_by: the setting that its stage comes from.
        age: seconds since its last report.
        stage_age: seconds that it has been at its stage.
        held_move: the move for which it holds its writes, with none in flight.
        in_flight: writes that it is carrying out.
        pending: mirrors that are not settled.
        spooled: notes in its spool file.
        problem: what it says of itself.
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

    @property
    def silent(self) -> bool:
        """Whether it has stopped reporting."""
        return self.age > SILENT_AFTER

    @property
    def follows(self) -> bool:
        """Whether it follows the row; its environment fixes its stage otherwise."""
        return self.chosen_by == _FOLLOWING


_READ = """
SELECT name, stage, chosen_by, extract(epoch FROM clock_timestamp() - reported_at)::double precision,
extract(epoch FROM clock_timestamp() - stage_since)::double precision, held_move, in_flight, pending_mirrors, spooled,
problem FROM botdata.processes ORDER BY name
"""


async def read_processes(connection: AsyncConnection) -> tuple[Process, ...]:
    """All of them, in the order of their names."""
    rows = await (await connection.execute(_READ)).fetchall()
    return tuple(Process(row[0], Stage(row[1]), *row[2:]) for row in rows)
