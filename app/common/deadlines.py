"""A bound on how long something is waited for, also where a driver takes its time over being cancelled."""

import asyncio
from collections.abc import Collection, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from app.common.background import BackgroundTasks
from app.errors import StoreTimeoutError

T = TypeVar("T")

# Seconds. The first cancellation may make a driver wait for its server's word on that; the second breaks that off.
_CLEANING_UP = 5.0
_ending = BackgroundTasks()


async def within(seconds: float, call: Coroutine[Any, Any, T]) -> T:
    """The value of a coroutine, which is ended beside this one where it takes longer, or where this is cancelled.

    Raises:
        StoreTimeoutError: it took longer; what it did may last.
    """
    task = asyncio.create_task(call)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            _ending.start(_end(task))
        elif not task.cancelled():
            task.exception()  # nobody asks where this one was cancelled in the same moment
    if not task.done():
        raise StoreTimeoutError(f"no answer within {seconds:g} s")
    return task.result()


async def happens(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait for an event, so long at most; whether it has happened."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


async def ends(seconds: float) -> None:
    """Wait, so long at most, for calls that are being ended beside those that waited for them."""
    await _ending.wait(seconds)


async def _end(task: asyncio.Task[Any]) -> None:
    await cancel({task}, _CLEANING_UP)
    if task.done() and not task.cancelled():
        task.exception()  # nobody asks any more


async def cancel(tasks: Collection[asyncio.Task[Any]], seconds: float) -> None:
    """Cancel tasks and wait for their end; what still cleans up after so long is cancelled once more."""
    for _ in range(2):
        if tasks := {task for task in tasks if not task.done()}:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=seconds)
