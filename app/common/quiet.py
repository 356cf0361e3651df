"""Moments in which a process answers no call: what nobody waits for is begun then, so that it is in nobody's way."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 0.1  # seconds that work waits at most for a moment without calls; it keeps to that itself
_AFTER_THE_ANSWER = 0.001  # seconds, in which the caller goes on, and perhaps asks for more


class Calls:
    """The calls that go on.

    Attributes:
        in_flight: how many.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self._asked: dict[Callable[[], None], None] = {}  # in their order

    @contextmanager
    def answering(self) -> Iterator[None]:
        """A call, or other work that what waits is to wait for."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            self._look_soon()

    def when_quiet(self, begin: Callable[[], None]) -> None:
        """Have a function called once, in the next moment without calls."""
        self._asked[begin] = None
        self._look_soon()

    def _look_soon(self) -> None:
        if self._asked and not self.in_flight:
            asyncio.get_running_loop().call_later(_AFTER_THE_ANSWER, self._look)

    def _look(self) -> None:
        if not self.in_flight:
            asked, self._asked = self._asked, {}
            for begin in asked:
                begin()
