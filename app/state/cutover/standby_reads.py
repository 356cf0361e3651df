"""What a process says of its reads, in its row of table `processes`: how many standbys answered, and how these are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple


class StandbyReport(NamedTuple):
    """How a standby is.

    Attributes:
        standby: host and port.
        state: "answers", or why it is not asked.
        lag_bytes: of the log that it has not replayed; None: not known.
        lag_seconds: since the primary was where it is now; None: not known.
    """

    standby: str
    state: str
    lag_bytes: int | None
    lag_seconds: float | None


class StandbyReads(NamedTuple):
    """Since the start of the process."""

    by_standbys: int
    by_primary: int
    standbys: tuple[StandbyReport, ...]

    @classmethod
    def of(cls, document: dict[str, Any] | None) -> StandbyReads | None:
        """What `document` gave."""
        if document is None:
            return None
        standbys = tuple(StandbyReport(**one) for one in document["standbys"])
        return cls(document["by_standbys"], document["by_primary"], standbys)

    @property
    def share(self) -> float:
        """Of the reads that standbys answered, from 0 to 1."""
        return self.by_standbys / max(1, self.by_standbys + self.by_primary)

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return {**self._asdict(), "standbys": [one._asdict() for one in self.standbys]}


def together(reads: Iterable[StandbyReads | None]) -> StandbyReads | None:
    """Of all processes; of each standby what the process says that sees it farthest behind. None: there are none."""
    known = [one for one in reads if one is not None]
    if not known:
        return None
    worst: dict[str, StandbyReport] = {}
    for report in (report for one in known for report in one.standbys):
        other = worst.setdefault(report.standby, report)
        if (report.lag_bytes is None, report.lag_bytes or 0) > (other.lag_bytes is None, other.lag_bytes or 0):
            worst[report.standby] = report
    counts = sum(one.by_standbys for one in known), sum(one.by_primary for one in known)
    return StandbyReads(*counts, tuple(worst.values()))
