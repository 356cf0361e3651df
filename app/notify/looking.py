"""When the target is looked at for trouble: every few seconds beside a sync or `botdata watch`, and after a move."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import lru_cache
from typing import TypeVar

from psycopg import AsyncConnection

from app.common.background import end_task
from app.common.driver_errors import without_values
from app.errors import BotdataError
from app.migration.target.target_session import open_target
from app.notify.channels import channels_of
from app.notify.delivery import STEP, TO_WRITE, TROUBLE, Away, deliver_on, telling
from app.notify.troubles import Look
from app.settings import Settings
from app.state import notifications
from app.state.cutover.stage import StageRow, read_stage_row
from app.state.tool_schema import is_current

_logger = logging.getLogger(__name__)
_EVERY = 5.0  # seconds between two looks
_PATIENCE = 15.0  # seconds without an answer after which the target counts as away
_GATES_EVERY = 60.0  # seconds: some of them ask Supabase
_GATES_WITHIN = 75.0  # seconds for them, and for noting what they say
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
        await end_task(task)


async def look_for_trouble(settings: Settings) -> bool:
    """Look once: tell what has changed for the worse, or back, and deliver all that is due.

    It raises nothing, since it is not what its caller is for, and may take as long as a slow receiver.

    Returns:
        Whether the target answered.
    """
    answers = False
    patience = asyncio.timeout(_PATIENCE)  # of what needs the target alone: receivers and Supabase have their own
    try:
        names = [one.name for one in channels_of(settings)]
        if not names:
            return True
        async with AsyncExitStack() as stack:
            async with patience:
                target = open_target(settings.require_database_url(), step=STEP)
                connection = await stack.enter_async_context(target)
                answers = True
                row = await _look(connection, settings, names) if await is_current(connection) else None
            if row is not None:
                await _deliver_and_ask(connection, settings, names, row)
    except Exception as error:
        answers = answers and not patience.expired()
        if answers:
            why = error if isinstance(error, BotdataError) else without_values(error)
            _warn_once(f"what happens can be told in part only: {why}")
    return answers


async def _look(connection: AsyncConnection, settings: Settings, channels: Sequence[str]) -> StageRow:
    look = Look(connection, settings, channels)
    row = await read_stage_row(connection)
    await look.moves()
    await look.processes()
    await look.limits(row)
    return row


async def _deliver_and_ask(
    connection: AsyncConnection, settings: Settings, channels: Sequence[str], row: StageRow
) -> None:
    await deliver_on(connection, settings)
    async with asyncio.timeout(_GATES_WITHIN):
        is_due = row.managed and await notifications.take_turn(connection, "gates", _GATES_EVERY)
        if is_due:
            await Look(connection, settings, channels).gates(row)
    if is_due:
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
                url, names = settings.require_database_url(), [one.name for one in channels_of(settings)]
                with suppress(*TROUBLE):
                    async with asyncio.timeout(TO_WRITE), open_target(url, step=STEP) as connection:
                        await Look(connection, settings, names).moves()
                teller.deliver()


async def _keep_looking(settings: Settings) -> None:
    away = Away(settings)
    while True:
        await away.note(answers=await look_for_trouble(settings))
        await asyncio.sleep(_EVERY)
