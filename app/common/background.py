"""Work that goes on beside its caller, and the end of what was begun."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

T = TypeVar("T")


_AGAIN = 1.0  # seconds until a task that has not ended is cancelled once more


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and wait until it has ended, whatever it came to.

    A cancel is lost where an error of the task's own takes its place, as that of a connection that was lost: a task
    that goes on after such errors would never end. So it is cancelled again.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_AGAIN)


async def end_all(*endings: Callable[[], Awaitable[Any]]) -> None:
    """Carry all out, one after the other. An error, or a cancel, ends its own one alone, and is raised at the end."""
    async with AsyncExitStack() as stack:
        for ending in reversed(endings):
            stack.push_async_callback(ending)


async def end_at_once(*endings: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Carry all out at the same time, and wait for each. Errors as of `end_all`; a cancel is for each."""
    tasks = BackgroundTasks()
    started = [tasks.start(ending()) for ending in endings]
    try:
        await tasks.wait()
    finally:  # not by gather: it would cancel what has not begun, which then never ends anything
        await tasks.end()
    for task in started:
        task.result()


class BackgroundTasks:
    """Tasks that are kept until they have ended, whoever waits for them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin work."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def cancel(self) -> None:
        """Ask all that is at work to end."""
        for task in self._tasks:
            task.cancel()

    async def end(self, seconds: float | None = None) -> None:
        """Ask all that is at work to end, and wait until it has, so many seconds at most."""
        self.cancel()
        await self.wait(seconds)

    async def wait(self, seconds: float | None = None) -> None:
        """Wait until what is at work has ended, so many seconds at most."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
