"""The row `botdata.stage`, as the commands read and move it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection

from app.cutover.stages import Stage
from app.errors import MigrationError
from app.migration.target import explained, open_target
from app.migration.tool_schema import is_current

UNCHANGED = "nothing was changed"
_READ = "SELECT stage, moved_at, finished_at FROM botdata.stage "


@dataclass(frozen=True, slots=True)
class StageRow:
    """Where the cutover stands.

    Attributes:
        moved_at: when a command last moved it; None: none did, so a stage that an environment fixes holds there.
        finished_at: when the way back was ended.
    """

    stage: Stage
    moved_at: datetime | None
    finished_at: datetime | None


async def read_stage_row(connection: AsyncConnection, *, lock: str = "") -> StageRow:
    """The row, locked until the transaction ends where `lock` is "FOR SHARE" or "FOR UPDATE"."""
    row = await (await connection.execute((_READ + lock).encode())).fetchone()
    assert row is not None
    return StageRow(Stage(row[0]), row[1], row[2])


async def brief_locks(connection: AsyncConnection) -> None:
    """Wait for no lock longer than a write should take, until the transaction ends."""
    await connection.execute("SET LOCAL lock_timeout = '5s'")


@asynccontextmanager
async def open_cutover(url: str, step: str, *, pending: str = UNCHANGED) -> AsyncIterator[AsyncConnection]:
    """A connection to a target that has the tool's schema as this version knows it.

    Raises:
        MigrationError: it cannot be reached, or has no such schema.
    """
    async with open_target(url, step=step) as connection:
        with explained(step, pending=pending):
            if not await is_current(connection):
                raise MigrationError(
                    "the target has not the tables of a cutover: its schema botdata is missing or of another version",
                    step=step,
                    pending=pending,
                    next_command=f"botdata upgrade, as the owner of the target's schema; then: botdata {step}",
                )
            yield connection
