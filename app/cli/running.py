"""Running a command's work: its settings, and the event loop, where SIGTERM ends it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from app.cli.options import GivenOptions
from app.errors import MigrationError

if TYPE_CHECKING:
    from app.settings import Settings

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


def load_settings() -> Settings:
    """The settings of the environment and of `.env`; what reads them is imported when a command works."""
    from app.settings import load_settings as load

    return load()


def move_and_tell(settings: Settings, moving: Coroutine[Any, Any, _Answer], given: GivenOptions) -> _Answer:
    """Run a move of the cutover as `carry_out` does, and tell those who are to be told."""
    from app.notify.looking import then_tell

    return carry_out(then_tell(settings, moving), given)


def carry_out(work: Coroutine[Any, Any, _Answer], given: GivenOptions) -> _Answer:
    """Run work in an event loop; the commands that its errors name next get the options that they need."""
    try:
        return run_async(work)
    except MigrationError as error:
        if error.next_step is not None:
            step = error.step
            error.next_step = error.next_step.with_options(lambda command: given.complete(command, step=step))
        raise
