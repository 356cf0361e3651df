"""Answers that were compared, kept by minute: read a little at a time, shown by method, and counted without end."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from psycopg import AsyncConnection

from app.common.latency import Latencies
from app.cutover.stages import Stage, Store
from app.state.cutover.comparisons import MethodReport, read_minutes

HOURS = 1.0
_SHOWN = timedelta(hours=HOURS)
_KEPT = _SHOWN + timedelta(minutes=5)  # longer than is ever read, so that nothing is counted twice
_EVERY = 3.0  # seconds; so often a process writes what it counted
_LATE = 600.0  # seconds; a process writes a minute again for as long as it lasts, and later after an outage


@dataclass(frozen=True, slots=True)
class Minute:
    """How fast both stores were in a minute: seconds, by store; None where there were no calls."""

    minute: datetime
    p50: dict[Store, float | None]
    p99: dict[Store, float | None]


class Compared:
    """What the processes counted in the last hour, and the sum of all that was read since the start."""

    def __init__(self) -> None:
        self._minutes: dict[tuple[str, datetime, Stage, str], MethodReport] = {}
        self._before: list[MethodReport] = []  # summed up
        self._read_at = float("-inf")

    async def update(self, connection: AsyncConnection) -> None:
        """Read the last minutes, now and then; the whole hour where nothing is known."""
        if monotonic() - self._read_at < _EVERY:
            return
        self._read_at = monotonic()
        seconds = _LATE if self._minutes else _SHOWN.total_seconds()
        for process, minute, report in await read_minutes(connection, seconds):
            self._minutes[process, minute, report.stage, report.method] = report
        if not self._minutes:
            return
        oldest = max(minute for _, minute, _, _ in self._minutes) - _KEPT
        if gone := [key for key in self._minutes if key[1] < oldest]:
            self._before = _summed([*self._before, *(self._minutes.pop(key) for key in gone)])

    @property
    def methods(self) -> list[MethodReport]:
        """Of the last hour, by stage and name."""
        return _summed(self._minutes.values())

    @property
    def ever(self) -> list[MethodReport]:
        """Of all that was read: an hour before the start, and since."""
        return _summed([*self._before, *self._minutes.values()])

    @property
    def latencies(self) -> list[Minute]:
        """Of both stores, the oldest minute first."""
        minutes: dict[datetime, dict[Store, Latencies]] = {}
        for (_, minute, _, _), report in sorted(self._minutes.items(), key=lambda item: item[0][1]):
            stores = minutes.setdefault(minute, {store: Latencies() for store in Store})
            for store, counts in report.by_store.items():
                stores[store].merge(counts)
        return [
            Minute(minute, *({store: one.quantile(share) for store, one in stores.items()} for share in (0.5, 0.99)))
            for minute, stores in minutes.items()
        ]


def _summed(reports: Iterable[MethodReport]) -> list[MethodReport]:
    sums: dict[tuple[Stage, str], MethodReport] = {}
    for one in reports:
        key = (one.stage, one.method)
        total = sums.setdefault(key, MethodReport(one.stage, one.method, False, 0, 0, 0, 0, 0))
        for name in ("calls", "equal", "different", "error", "skipped"):
            setattr(total, name, getattr(total, name) + getattr(one, name))
        total.authority = _added(total.authority, one.authority)
        total.other = _added(total.other, one.other)
    order = list(Stage)
    return [sums[key] for key in sorted(sums, key=lambda key: (order.index(key[0]), key[1]))]


def _added(counts: list[int], more: list[int]) -> list[int]:
    both = Latencies(counts)
    both.merge(more)
    return both.counts
