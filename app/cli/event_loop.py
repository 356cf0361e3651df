"""Running a command's work in an event loop, so that SIGTERM ends it there."""

from collections.abc import Coroutine
from typing import Any, TypeVar

_Answer = TypeVar("_Answer")


def run_async(work: Coroutine[Any, Any, _Answer]) -> _Answer:
    """As `asyncio.run`; SIGTERM cancels the work as SIGINT does, also where SIGINT is ignored.

    A KeyboardInterrupt instead would come between any two instructions of the event loop: it can take the wake-up of a
    task with it, and that task never ends, though the loop waits for it when it closes.

    Raises:
        KeyboardInterrupt: the work was ended so, or the signal came as it ended by itself.
    """
    import asyncio  # here, since the help needs none of it
    import logging
    import signal

    # What is tried again is told as a notice; what the driver warns of comes of an error that is told, too.
    for library in ("stamina", "psycopg"):
        logging.getLogger(library).setLevel(logging.ERROR)

    terminated = False

    def note(*_: object) -> None:
        nonlocal terminated
        terminated = True

    def terminate() -> None:
        note()
        task.cancel()

    async def outcome() -> _Answer:
        return await task

    before = signal.getsignal(signal.SIGTERM)
    runner = asyncio.Runner()
    task = runner.get_loop().create_task(work)
    runner.get_loop().add_signal_handler(signal.SIGTERM, terminate)  # which also wakes the loop where it waits
    signal.signal(signal.SIGTERM, note)  # instead of asyncio's, which leaves all to the loop
    try:
        with runner:
            try:
                answer = runner.run(outcome())
            finally:  # the loop's end puts the signal to its default for a moment
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    except asyncio.CancelledError:
        if not terminated:
            raise
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if terminated:
        raise KeyboardInterrupt
    return answer
