"""How much a command asks of its source: at most so much a second, nothing while it is paused, less when it slows down.

A command has one Pace, which all of its workers and tables share.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from statistics import median
from time import monotonic
from typing import Self

from app.migration.retry import Limits

_CATCHING_UP = 0.25  # seconds of lateness that the next requests may make up for
_NAP = 0.5  # seconds after which one who waits for the rate looks whether it is paused
_FIRST, _LAST = 5, 3  # answers whose medians are compared
_SLOW, _FAST = 3.0, 1.5  # times the first pace: past it the source has slowed down; under it, it has recovered
_NOT_SLOW = 0.1  # seconds: an answer that takes less is none to be kind about
_LONGEST_WAIT = 10.0  # seconds between two requests to a source that has slowed down


@dataclass(frozen=True, slots=True)
class MaxRate:
    """At most so many rows, or so many bytes, a second; one of the two is given."""

    rows: int | None = None
    size: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """`2000`: rows a second; `5MB`: megabytes (of 1,000,000 bytes) a second.

        Raises:
            ValueError: says what it has to be.
        """
        found = re.fullmatch(r"([0-9]{1,12})|([0-9]{1,6}(?:\.[0-9]{1,3})?)MB", text.strip(), re.IGNORECASE)
        if found and found[1] and int(found[1]):
            return cls(rows=int(found[1]))
        if found and found[2] and float(found[2]):
            return cls(size=round(float(found[2]) * 1_000_000))
        raise ValueError("must be rows a second, such as 2000, or megabytes a second, such as 5MB or 0.5MB")

    def __str__(self) -> str:
        return f"{self.rows:,} rows/s" if self.rows is not None else f"{(self.size or 0) / 1_000_000:g} MB/s"

    def seconds(self, rows: int, size: int) -> float:
        """How long so much is to take."""
        return rows / self.rows if self.rows is not None else size / (self.size or 1)


@dataclass(slots=True)
class _Answers:
    """The source's answers of one kind: seconds a byte of the first and of the last ones."""

    first: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    last: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_LAST))


class Pace:
    """What a command may ask of its source now.

    Attributes:
        max_rate: None: as much as it gives.
        tell: told when the source slows down, and when it has recovered.
        slowdown: how many times the first pace the last answers took; 1 where it has not slowed down.
    """

    def __init__(self, max_rate: MaxRate | None = None) -> None:
        self.max_rate = max_rate
        self.tell: Callable[[str], None] = lambda message: None
        self.slowdown = 1.0
        self._free_at: float | None = None  # by the monotonic clock: what was read so far is paid for then
        self._slow_until = 0.0
        self._answers: dict[tuple[str, str], _Answers] = {}
        self._slow: str | None = None  # the table whose answers slowed down
        self._go_on = asyncio.Event()
        self._go_on.set()
        self._asked = 0
        self._resting = 0
        self._at_once = 0

    def limits(self, limits: Limits) -> Limits:
        """Pages that take half a second at most by the rate."""
        return replace(
            limits, page_rows=self.most_rows(limits.page_rows), page_bytes=self.most_bytes(limits.page_bytes)
        )

    def most_rows(self, rows: int, seconds: float = 0.5) -> int:
        """So many rows, or those of so many seconds where these are fewer."""
        most = self.max_rate.rows if self.max_rate is not None else None
        return rows if most is None else max(1, min(rows, int(most * seconds)))

    def most_bytes(self, size: int, seconds: float = 0.5) -> int:
        """The same for bytes."""
        most = self.max_rate.size if self.max_rate is not None else None
        return size if most is None else max(1, min(size, int(most * seconds)))

    @property
    def is_paused(self) -> bool:
        """Whether nothing new may be begun."""
        return not self._go_on.is_set()

    @property
    def is_held(self) -> bool:
        """Whether it is paused, and the source is asked nothing any more."""
        return self.is_paused and self._resting > 0 and self._asked == 0

    def pause(self) -> None:
        """Begin nothing new."""
        self._go_on.clear()

    def resume(self) -> None:
        """Go on."""
        self._go_on.set()

    async def ready(self, *, in_snapshot: bool = False) -> None:
        """Wait until something may be asked.

        Args:
            in_snapshot: a transaction at the source is open. It is not to last for as long as a pause does, so its end
                is not kept waiting for one.
        """
        while not self._at_once:
            if self.is_paused and not in_snapshot:
                with self.resting():
                    await self._go_on.wait()
                continue
            wait = max(self._free_at or 0.0, self._slow_until) - monotonic()
            if wait <= 0:
                return
            await asyncio.sleep(min(wait, _NAP))

    @asynccontextmanager
    async def request(self, *, in_snapshot: bool = False) -> AsyncIterator[None]:
        """A request to the source, begun when it may be."""
        await self.ready(in_snapshot=in_snapshot)
        now = monotonic()
        self._free_at = now if self._free_at is None else max(self._free_at, now - _CATCHING_UP)
        self._asked += 1
        try:
            yield
        finally:
            self._asked -= 1

    @contextmanager
    def resting(self) -> Iterator[None]:
        """The source is asked nothing while the context lasts."""
        self._resting += 1
        try:
            yield
        finally:
            self._resting -= 1

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What is asked in the context does not wait, since others wait for its end: a table is locked.

        What is read is paid for afterwards.
        """
        self._at_once += 1
        try:
            yield
        finally:
            self._at_once -= 1

    def count(self, *, rows: int = 0, size: int = 0) -> None:
        """So much has come from the source."""
        if self.max_rate is not None:
            self._free_at = (self._free_at or monotonic()) + self.max_rate.seconds(rows, size)

    async def hold_back(self, *, rows: int, size: int) -> None:
        """The same amid a stream: more than a second's worth too early, it is read on later."""
        self.count(rows=rows, size=size)
        early = (self._free_at or 0.0) - monotonic()
        if early > 1 and self.max_rate is not None and not self._at_once:
            await asyncio.sleep(early - _NAP)

    def answered(self, table: str, kind: str, size: int, seconds: float, *, at_first: float | None = None) -> None:
        """Compare how long an answer took with the first ones of its kind, by the byte; wait where that is much longer.

        Args:
            kind: of what is asked of the table: answers of one kind are alike.
            at_first: how long it counts for among the first; else as long as it took.
        """
        known = self._answers.setdefault((table, kind), _Answers())
        if len(known.first) < _FIRST:
            known.first.append((seconds if at_first is None else at_first) / max(1, size))
            known.sizes.append(size)
            self._compare(table, 1.0)
            return
        size = max(size, int(median(known.sizes) / 2), 1)  # what every request takes weighs more in a short answer
        known.last.append((seconds / size, seconds))
        if len(known.last) < _LAST:
            return
        first = median(known.first)
        is_long = median(seconds for _, seconds in known.last) > _NOT_SLOW
        self._compare(table, median(per_byte for per_byte, _ in known.last) / max(first, 1e-12) if is_long else 1.0)
        if self._slow is not None:
            self._slow_until = monotonic() + min(_LONGEST_WAIT, max(0.0, seconds - first * size))

    def _compare(self, table: str, slowdown: float) -> None:
        if slowdown >= (_FAST if self._slow == table else _SLOW):
            if self._slow != table:
                self.tell(f"{table}: the source takes {slowdown:.1f} times as long as at first; it is asked less often")
            self._slow, self.slowdown = table, slowdown
            return
        if self._slow is not None:
            other = "" if self._slow == table else f" with {table}, whose own first answers count"
            self.tell(f"{self._slow}: the source is asked as often as at first again{other}")
        self._slow, self.slowdown = None, 1.0
