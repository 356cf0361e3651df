"""Processes of the bot as the target sees them: they report, hold and follow, and do nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg

from app.cutover.stages import Stage
from tests.fixtures.cutover import Pair

FOLLOWING = "CUTOVER_STAGE=database"
ONE = "one:1:000000"  # a process
_REGISTER = (
    "INSERT INTO botdata.processes (name, stage, chosen_by) SELECT %s, coalesce(%s, stage), %s "
    "FROM botdata.stage FOR SHARE"
)
_REPORT = """
UPDATE botdata.processes SET reported_at = clock_timestamp(),
stage = coalesce(%(fixed)s, (SELECT stage FROM botdata.stage)), in_flight = %(in_flight)s,
held_move = CASE WHEN %(holds)s THEN (SELECT id FROM botdata.moves WHERE state = 'holding') END WHERE name = %(name)s
"""


@dataclass
class Reporting:
    """Processes that report every 50 ms.

    Attributes:
        holds: they hold their writes when a move asks for it.
        fixed: the stage that they report; None: the row's.
        in_flight: calls that each reports.
    """

    names: tuple[str, ...]
    holds: bool
    fixed: Stage | None
    in_flight: int = 0
    stopped: bool = False

    async def report(self, connection: psycopg.AsyncConnection) -> None:
        """Report until stopped."""
        while not self.stopped:
            for name in self.names:
                await connection.execute(
                    _REPORT,
                    {"name": name, "holds": self.holds, "fixed": self.fixed, "in_flight": self.in_flight},
                )
            await asyncio.sleep(0.05)


@asynccontextmanager
async def reporting(
    target: str, *names: str, holds: bool = True, fixed: Stage | None = None, chosen_by: str = FOLLOWING
) -> AsyncIterator[Reporting]:
    """Processes that report while the block runs, and say goodbye at its end."""
    connection = await psycopg.AsyncConnection.connect(target, autocommit=True)
    for name in names:
        await connection.execute(_REGISTER, [name, fixed, chosen_by])
    processes = Reporting(names, holds, fixed)
    task = asyncio.create_task(processes.report(connection))
    try:
        yield processes
    finally:
        processes.stopped = True
        await task
        for name in names:
            await connection.execute("DELETE FROM botdata.processes WHERE name = %s", [name])
        await connection.close()


async def wait_until(pair: Pair, condition: str) -> None:
    """Wait until a condition, in SQL, holds in the target; a minute at most."""
    for _ in range(1200):
        if pair.ask(f"SELECT {condition}") == [(True,)]:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(condition)
