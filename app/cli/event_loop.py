"""Running a command's work in an event loop, so that SIGTERM ends it there."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

_Answer = TypeVar("_Answer")


def run_async(work: Coroutine[Any, Any, _Answer]) -> _Answer:
    """As `asyncio.run`; SIGTERM cancels the work as SIGINT does, also where SIGINT is ignored.

    A KeyboardInterrupt instead would come between any two instructions of the event loop: it can take the wake-up of a
    task with it, and that task never ends, though the loop waits for it when it closes.

    Raises:
        KeyboardInterrupt: the work was ended so.
    """
    import asyncio  # here, since the help needs none of it
    import signal

    terminated = False
    runner = asyncio.Runner()
    loop = runner.get_loop()
    task = loop.create_task(work)

    def terminate(*_: object) -> None:
        nonlocal terminated
        terminated = True
        if not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)

    async def outcome() -> _Answer:
        return await task

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with runner:
            answer = runner.run(outcome())
        if not terminated:
            return answer
    except asyncio.CancelledError:
        if not terminated:
            raise
    finally:
        signal.signal(signal.SIGTERM, before)
    raise KeyboardInterrupt
