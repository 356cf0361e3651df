"""Looks every few seconds for what no command tells by itself: a following sync and `botdata watch` do.

Several may look at a time: each change is told once. The commands that move the stage tell of their moves, too.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from typing import TypeVar

from psycopg import AsyncConnection

from app.common.driver_errors import without_values
from app.errors import BotdataError
from app.migration.target.target_session import open_target
from app.notify.away import Away
from app.notify.channels import channels_of
from app.notify.delivery import STEP, TO_WRITE, TROUBLE, deliver_on, telling
from app.notify.look import Look
from app.settings import Settings
from app.state import notifications
from app.state.cutover.stage import read_stage_row
from app.state.tool_schema import is_current

_logger = logging.getLogger(__name__)
_EVERY = 5.0  # seconds between two looks
_GATES_EVERY = 60.0  # seconds: some of them ask Supabase
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


async def look_for_trouble(settings: Settings) -> bool:
    """Look once: tell what has changed for the worse, or back, and deliver all that is due.

    It raises nothing, since it is not what its caller is for, and may take as long as a slow receiver.

    Returns:
        Whether the target answered.
    """
    answers = False
    try:
        names = [one.name for one in channels_of(settings)]
        if not names:
            return True
        async with open_target(settings.require_database_url(), step=STEP) as connection:
            answers = True
            if await is_current(connection):
                await _look(connection, settings, names)
    except Exception as error:
        if answers:
            why = error if isinstance(error, BotdataError) else without_values(error)
            _warn_once(f"what happens can be told in part only: {why}")
    return answers


async def _look(connection: AsyncConnection, settings: Settings, channels: Sequence[str]) -> None:
    look = Look(connection, settings, channels)
    row = await read_stage_row(connection)
    await look.moves()
    await look.processes()
    await look.limits(row)
    await deliver_on(connection, settings)
    if row.managed and await notifications.take_turn(connection, "gates", _GATES_EVERY):
        await look.gates(row)
        await deliver_on(connection, settings)


@lru_cache(100)
def _warn_once(message: str) -> None:
    _logger.warning(message)


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
        async with asyncio.timeout(TO_WRITE), open_target(settings.require_database_url(), step=STEP) as connection:
            await Look(connection, settings, [one.name for one in channels_of(settings)]).moves()


async def _keep_looking(settings: Settings) -> None:
    away = Away(settings)
    while True:
        await away.note(answers=await look_for_trouble(settings))
        await asyncio.sleep(_EVERY)
