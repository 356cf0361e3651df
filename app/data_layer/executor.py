"""The outermost wrapper of every call: deadline, repetition, log line, and the answer made of what happened.

Nothing below it answers with anything but a value or an `app.errors.DataError`.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar

from app.common.deadlines import cancel
from app.common.metrics import Metrics
from app.data_layer.result import Result
from app.errors import (
    DataError,
    DriverError,
    InvalidArgumentError,
    OutcomeUnknownError,
    StoreError,
    StoreTimeoutError,
    UnavailableError,
)
from app.stores.outgoing_write import OutgoingWrite

T = TypeVar("T")
Clock = Callable[[], datetime]

logger = logging.getLogger("app.data_layer")
away_logger = logging.getLogger("app.data_layer.away")

_ATTEMPTS = 3
_FIRST_PAUSE = 0.05  # seconds; the second is four times as long
_AWAY_LINES = 60.0  # seconds between two lines of the log about a store that is away
_CLEANING_UP = 2.0  # seconds for a call that was cancelled; see `app.common.deadlines.cancel`


class DataLayerClosedError(RuntimeError):
    """A method was called on a data layer that is closed."""


class OtherLoopError(RuntimeError):
    """A method was called in another event loop, or another process, than the one that opened the data layer."""


class Executor:
    """Carries calls out, each in a task of its own, and makes their answers.

    A call whose time is up is cancelled and not waited for, since a driver may take its time over that.

    Args:
        clock: gives the answers' timestamps, aware UTC.
        timeout: seconds until a call is answered.
        log: log each call with its time.
        metrics: told of each call, its time and its outcome.
    """

    def __init__(self, clock: Clock, *, timeout: float, log: bool, metrics: Metrics) -> None:
        self._loop = asyncio.get_running_loop()  # the connections are this loop's; a forked process has another
        self._clock = clock
        self._timeout = timeout
        self._log = log
        self._metrics = metrics
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._told_at: float | None = None
        self._unanswered = 0

    async def read(
        self,
        operation: str,
        call: Callable[[], Awaitable[T]],
        *,
        metadata: dict[str, Any] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the deadline is the answer's, the task may outlive it
    ) -> Result[T]:
        """The answer to a call that only reads; an unreachable store is asked again, twice, within the deadline.

        What the call puts into `metadata` is in the answer.
        """
        return await self._answer(operation, call, None, {} if metadata is None else metadata, timeout or self._timeout)

    async def write(
        self,
        operation: str,
        call: Callable[[OutgoingWrite], Awaitable[T]],
        *,
        metadata: dict[str, Any] | None = None,
    ) -> Result[T]:
        """The answer to a call that writes; repeated only while nothing has been sent."""
        write = OutgoingWrite()
        return await self._answer(
            operation, lambda: call(write), write, {} if metadata is None else metadata, self._timeout
        )

    async def close(self) -> None:
        """End the calls that still run, within four seconds."""
        self._closed = True
        await cancel(self._running, _CLEANING_UP)

    async def _answer(
        self,
        operation: str,
        call: Callable[[], Awaitable[T]],
        write: OutgoingWrite | None,
        metadata: dict[str, Any],
        seconds: float,
    ) -> Result[T]:
        if self._closed:
            raise DataLayerClosedError(f"{operation}: the data layer is closed")
        if asyncio.get_running_loop() is not self._loop:
            raise OtherLoopError(
                f"{operation}: the data layer was opened in another event loop, or before a fork; open one in each "
                "process and each loop"
            )
        started = time.perf_counter()
        data: T | None = None
        failure: DataError | None = None
        try:
            data = await self._within(seconds, lambda: self._attempts(call, write, seconds), write)
        except DataError as error:
            failure = error
            metadata = {**metadata, **_where(error)}
            if isinstance(error, UnavailableError | StoreTimeoutError):
                self._tell_of(error)
        spent = time.perf_counter() - started
        outcome = failure.code if failure else "ok"
        self._metrics.observe(None, operation, spent)
        self._metrics.count("calls", method=operation, outcome=outcome)
        if self._log:
            logger.info("%s %.1f ms %s", operation, spent * 1000, outcome)
        if failure is None:
            return Result(True, data, None, None, operation, self._clock(), metadata)
        return Result(False, None, str(failure), failure.code, operation, self._clock(), metadata)

    def _tell_of(self, error: StoreError) -> None:
        """Log, now and then, what is away: its callers may be many, and log nothing themselves."""
        self._unanswered += 1
        now = time.monotonic()
        if self._told_at is None or now - self._told_at >= _AWAY_LINES:
            why = f" ({error.__cause__})" if isinstance(error.__cause__, DriverError) else ""
            count = self._unanswered
            away_logger.warning("%s%s; calls without an answer since the last such line: %d", error, why, count)
            self._told_at, self._unanswered = now, 0

    async def _within(self, seconds: float, call: Callable[[], Awaitable[T]], write: OutgoingWrite | None) -> T:
        # Fulfilled from inside the task: one turn of the loop, where asyncio.wait would take two.
        outcome: asyncio.Future[T] = self._loop.create_future()
        # A caller who is cancelled never sees it: asyncio would log an exception that came at that moment.
        outcome.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        task = asyncio.create_task(_fulfil(outcome, call))
        self._running.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, outcome, write))
        timer = self._loop.call_later(seconds, _expire, outcome, seconds, write)
        try:
            return await outcome
        finally:
            timer.cancel()
            if not task.done():
                if write is not None:
                    write.give_up()  # a request may go on beside its task
                task.cancel()

    def _ended(self, task: asyncio.Task[None], outcome: asyncio.Future[Any], write: OutgoingWrite | None) -> None:
        self._running.discard(task)
        if outcome.done():
            return
        closed = "the data layer was closed during the call"
        if write is None or write.give_up():
            outcome.set_exception(UnavailableError(closed))
        else:
            outcome.set_exception(OutcomeUnknownError(f"{closed}; the write may still land"))

    async def _attempts(self, call: Callable[[], Awaitable[T]], write: OutgoingWrite | None, seconds: float) -> T:
        started = time.monotonic()
        for attempt in range(1, _ATTEMPTS):
            try:
                return await call()
            except UnavailableError as error:
                if (write is not None and write.has_left) or time.monotonic() - started > attempt * seconds / _ATTEMPTS:
                    raise
                pause = error.retry_after or _FIRST_PAUSE * 4 ** (attempt - 1)
            # Not all callers at the same moment.
            await asyncio.sleep(min(pause * random.uniform(1, 2), seconds / _ATTEMPTS))  # noqa: S311
        return await call()


async def _fulfil(outcome: asyncio.Future[T], call: Callable[[], Awaitable[T]]) -> None:
    try:
        value = await call()
    except Exception as error:
        if not outcome.done():
            outcome.set_exception(error)
    else:
        if not outcome.done():
            outcome.set_result(value)


def _expire(outcome: asyncio.Future[Any], seconds: float, write: OutgoingWrite | None) -> None:
    if outcome.done():
        return
    if write is None:
        outcome.set_exception(StoreTimeoutError(f"no answer within {seconds:g} s"))
    elif write.give_up():
        outcome.set_exception(UnavailableError(f"not reached within {seconds:g} s; nothing was written"))
    else:
        outcome.set_exception(OutcomeUnknownError(f"no answer to a write within {seconds:g} s; it may still land"))


def _where(error: DataError) -> dict[str, Any]:
    if not isinstance(error, InvalidArgumentError):
        return {}
    named = {"field": error.field, "index": error.index}
    return {name: value for name, value in named.items() if value is not None}
