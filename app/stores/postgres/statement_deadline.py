"""The time that the statements of one connection may take, kept by the client.

asyncio.timeout would start a timer for each statement, which costs a tenth of a short one. One timer is enough for all
statements of a connection, since it carries out one at a time: when it is due, it looks how old the present one is.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

import psycopg

T = TypeVar("T")


class StatementDeadline:
    """The time that each statement of one connection may take.

    Args:
        seconds: of a statement.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began = 0.0  # by the loop's clock
        self._running: asyncio.Task[Any] | None = None
        self._is_late = False
        self._timer: asyncio.TimerHandle | None = None

    async def keep(self, statement: Awaitable[T]) -> T:
        """What a statement gives.

        One that takes longer is cancelled as a task is, for which psycopg has the server cancel the statement, and
        closes a connection that does not answer within seconds.

        Raises:
            psycopg.errors.QueryCanceled: it took longer.
        """
        loop = asyncio.get_running_loop()
        self._running, self._began, self._is_late = asyncio.current_task(), loop.time(), False
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._look, loop)
        try:
            return await statement
        except asyncio.CancelledError:
            if self._is_late and self._running is not None and not self._running.uncancel():
                raise psycopg.errors.QueryCanceled("no answer in time") from None
            raise
        finally:
            self._running = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._running is None:
            return
        left = self._began + self._seconds - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._look, loop)
        else:
            self._is_late = True
            self._running.cancel()
