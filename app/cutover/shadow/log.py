"""Counts of comparisons by minute, and differences by cause, kept in the target for every process together."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from app.common.latency import Latencies
from app.common.metrics import OUTCOMES
from app.cutover.shadow.diff_record import DifferenceRecord
from app.cutover.stages import Stage
from app.state.cutover import comparisons
from app.stores.codec.json_rows import encode
from app.stores.postgres.database import Database

_MOST_MINUTES = 60  # that wait for a target that is away; older ones are given up
_MOST_CAUSES = 200
_MOST_CAUSES_OF_A_MINUTE = 50


class Line(NamedTuple):
    """What is counted apart.

    Attributes:
        against_itself: the authority was compared with itself, which says nothing of the other store.
    """

    stage: Stage
    method: str
    against_itself: bool = False


@dataclass(slots=True)
class ComparisonCounts:
    """Of one line in one minute.

    Attributes:
        causes: of the answers that differed, how many by cause; past a limit new causes are left out.
    """

    calls: int = 0
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    causes: dict[str, int] = field(default_factory=dict)
    authority: Latencies = field(default_factory=Latencies)
    other: Latencies = field(default_factory=Latencies)


class ComparisonLog:
    """Gathers in memory what `save` brings to the target.

    Args:
        process: this process's name.
    """

    def __init__(self, process: str) -> None:
        self._process = process
        self._minutes: dict[int, dict[Line, ComparisonCounts]] = {}
        self._minute = 0
        self._differences: dict[tuple[Line, str], tuple[DifferenceRecord, int]] = {}
        self._is_saved = True

    def counts(self, line: Line) -> ComparisonCounts:
        """Those of a line in this minute, to be added to at once."""
        self._is_saved = False
        now = self._this_minute()
        minute = self._minutes.get(now)
        if minute is None:
            minute = self._minutes[now] = {}
            for old in sorted(self._minutes)[:-_MOST_MINUTES]:
                del self._minutes[old]
        found = minute.get(line)
        if found is None:
            found = minute[line] = ComparisonCounts()
        return found

    def _this_minute(self) -> int:
        self._minute = max(self._minute, int(time.time() // 60))  # a clock that is set back opens no old minute again
        return self._minute

    def add_difference(self, line: Line, record: DifferenceRecord) -> None:
        """Remember a confirmed difference, and count its cause in this minute."""
        causes = self.counts(line).causes
        if record.cause in causes or len(causes) < _MOST_CAUSES_OF_A_MINUTE:
            causes[record.cause] = causes.get(record.cause, 0) + 1
        self._keep(line, record, 1)

    def _keep(self, line: Line, record: DifferenceRecord, count: int) -> None:
        key = line, record.cause
        if key in self._differences or len(self._differences) < _MOST_CAUSES:
            self._differences[key] = record, count + self._differences.get(key, (record, 0))[1]

    async def save(self, database: Database) -> None:
        """Write what was gathered; what cannot be written is kept for the next time, within limits.

        Raises:
            StoreError: the target did not take it.
        """
        if self._is_saved:
            return
        minutes = list(self._minutes)
        rows = [_row(minute, line, counts) for minute in minutes for line, counts in self._minutes[minute].items()]
        differences, self._differences = self._differences, {}
        self._is_saved = True
        try:
            await self._write(database, rows, differences)
        except BaseException:
            self._is_saved = False
            for (line, _), (record, count) in differences.items():
                self._keep(line, record, count)
            raise
        for minute in minutes[:-1]:
            self._minutes.pop(minute, None)

    async def prune(self, database: Database) -> None:
        """Delete what is too old to be asked for."""
        async with database.statements() as connection:
            await comparisons.prune(connection)

    async def _write(
        self,
        database: Database,
        rows: list[dict[str, Any]],
        differences: dict[tuple[Line, str], tuple[DifferenceRecord, int]],
    ) -> None:
        # In one order, so that no two processes wait for each other.
        found = [
            {**line._asdict(), **record._asdict(), "cause": record.cause, "count": count}
            for (line, _), (record, count) in sorted(differences.items(), key=lambda item: item[0])
        ]
        async with database.transaction() as connection:
            await comparisons.save_counts(connection, self._process, encode(rows), _moment(self._this_minute()))
            if found:
                await comparisons.save_differences(connection, encode(found))


def _moment(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


def _row(minute: int, line: Line, counts: ComparisonCounts) -> dict[str, Any]:
    return {
        "minute": _moment(minute),
        **line._asdict(),
        "calls": counts.calls,
        **counts.outcomes,
        "causes": counts.causes,
        "authority_latency": counts.authority.counts,
        "other_latency": counts.other.counts,
    }
