"""Looks every few seconds for what no command tells by itself: a following sync and `botdata watch` do.

Several may look at a time: each change is told once. The commands that move the stage tell of their moves, too.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from app.migration.target.target_session import open_target
from app.notify.channels import channels_of
from app.notify.delivery import STEP, TROUBLE, deliver, telling
from app.notify.look import Look
from app.settings import Settings
from app.state import notifications
from app.state.cutover.stage import read_stage_row
from app.state.tool_schema import is_current

_EVERY = 5.0  # seconds between two looks
_GATES_EVERY = 60.0  # seconds: some of them ask Supabase
_TO_TELL = 3.0  # seconds
_Answer = TypeVar("_Answer")


@asynccontextmanager
async def looking(settings: Settings) -> AsyncIterator[None]:
    """Look every few seconds, beside what is done meanwhile; nothing where nobody wants to be told."""
    if not channels_of(settings):
        yield
        return
    task = asyncio.create_task(_keep_looking(settings))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def look_for_trouble(settings: Settings) -> None:
    """Look once: tell what has changed for the worse, or back, and deliver all that is due.

    It raises nothing: a target that cannot be read is left to the next look. It may take as long as a slow receiver.
    """
    names = [one.name for one in channels_of(settings)]
    if not names or settings.database_url is None:
        return
    with suppress(*TROUBLE):
        async with open_target(settings.database_url.get_secret_value(), step=STEP) as connection:
            if not await is_current(connection):
                return
            look = Look(connection, settings, names)
            row = await read_stage_row(connection)
            await look.moves()
            await look.processes()
            await look.limits(row)
            await deliver(settings)
            if row.managed and await notifications.take_turn(connection, "gates", _GATES_EVERY):
                await look.gates(row)
                await deliver(settings)


async def then_tell(settings: Settings, work: Awaitable[_Answer]) -> _Answer:
    """Do what may move the stage, and tell of it. Errors are those of the work."""
    async with telling(settings) as teller:
        try:
            return await work
        finally:
            if teller is not None:
                await _tell_moves(settings)
                teller.deliver()


async def _tell_moves(settings: Settings) -> None:
    with suppress(*TROUBLE):
        async with asyncio.timeout(_TO_TELL), open_target(settings.require_database_url(), step=STEP) as connection:
            await Look(connection, settings, [one.name for one in channels_of(settings)]).moves()


async def _keep_looking(settings: Settings) -> None:
    while True:
        await look_for_trouble(settings)
        await asyncio.sleep(_EVERY)
