"""A process of the bot as the target sees it: it reports itself, holds and follows, and does nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

_REGISTER = (
    "INSERT INTO botdata.processes (name, stage, chosen_by) SELECT %s, stage, 'CUTOVER_STAGE=database' "
    "FROM botdata.stage FOR SHARE"
)
# Its stage is the row's; it holds for the move that is open, unless it is deaf to it.
_REPORT = """
UPDATE botdata.processes SET reported_at = clock_timestamp(), stage = (SELECT stage FROM botdata.stage),
held_move = CASE WHEN %(holds)s THEN (SELECT id FROM botdata.moves WHERE state = 'holding') END WHERE name = %(name)s
"""


@asynccontextmanager
async def reporting(target: str, *names: str, holds: bool = True) -> AsyncIterator[None]:
    """Processes that report while the block runs."""
    connection = await psycopg.AsyncConnection.connect(target, autocommit=True)
    for name in names:
        await connection.execute(_REGISTER, [name])
    stop = asyncio.Event()

    async def report() -> None:
        while not stop.is_set():
            for name in names:
                await connection.execute(_REPORT, {"name": name, "holds": holds})
            await asyncio.sleep(0.05)

    task = asyncio.create_task(report())
    try:
        yield
    finally:
        stop.set()
        await task
        for name in names:
            await connection.execute("DELETE FROM botdata.processes WHERE name = %s", [name])
        await connection.close()
