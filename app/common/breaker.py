"""A circuit breaker: a store that fails is left alone, but for one probe now and then."""

import time
from collections.abc import Callable


class Breaker:
    """Closed while the store answers. Open after failures in a row; then one probe is let through at each pause.

    The pause doubles with each probe that fails. The caller says how its probe went; one that says nothing, such
    as one that was cancelled, is followed by another at the next pause.

    Args:
        failures: in a row, that open it.
        pause: seconds until the first probe.
        longest_pause: seconds between probes at most.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        *,
        failures: int = 1,
        pause: float = 0.5,
        longest_pause: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures = failures
        self._first_pause = pause
        self._longest_pause = longest_pause
        self._clock = clock
        self._failed = 0
        self._pause = pause
        self._probe_at = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether the store is known to be down."""
        return self._failed >= self._failures

    def allows(self) -> bool:
        """Whether the store may be asked now; while open, this gives the one probe to the caller that asks first."""
        if not self.is_open:
            return True
        if self._clock() < self._probe_at:
            return False
        self._probe_at = self._clock() + self._pause
        self._probing = True
        return True

    def succeeded(self) -> None:
        """The store answered: closed again."""
        self._failed = 0
        self._pause = self._first_pause
        self._probing = False

    def failed(self) -> None:
        """The store did not answer."""
        was_open = self.is_open
        self._failed += 1
        if was_open and not self._probing:
            return  # a call of before, which says nothing new
        if was_open:
            self._pause = min(self._pause * 2, self._longest_pause)
        self._probe_at = self._clock() + self._pause
        self._probing = False
