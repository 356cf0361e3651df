"""Latencies as counts of buckets, so that those of several processes and minutes can be added up."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate

_SHORTEST = 2.0**-15  # seconds; about 30 microseconds
_PER_DOUBLING = 4  # a bucket ends 19 % above where it begins
_BUCKETS = 96  # the last one takes all that is longer than 8 minutes


class Latencies:
    """How many calls took how long.

    Attributes:
        counts: of each bucket, the fastest first; as many as are needed, so a list may be shorter than another.
    """

    __slots__ = ("counts",)

    def __init__(self, counts: Iterable[int] = ()) -> None:
        self.counts = list(counts)

    def add(self, seconds: float) -> None:
        """Count one call."""
        bucket = _bucket(seconds)
        if bucket >= len(self.counts):
            self.counts.extend([0] * (bucket + 1 - len(self.counts)))
        self.counts[bucket] += 1

    def merge(self, counts: Sequence[int]) -> None:
        """Add the counts of another."""
        self.counts.extend([0] * (len(counts) - len(self.counts)))
        for bucket, count in enumerate(counts):
            self.counts[bucket] += count

    @property
    def count(self) -> int:
        """Calls counted."""
        return sum(self.counts)

    def quantile(self, share: float) -> float | None:
        """Seconds within which this share (0 to 1) of the calls was done, to a tenth; None without calls."""
        wanted = share * self.count
        for bucket, up_to in enumerate(accumulate(self.counts)):
            if up_to and up_to >= wanted:
                return begins_at(bucket + 0.5)
        return None


def begins_at(bucket: float) -> float:
    """Seconds at which a bucket begins; the first takes all that is shorter, too."""
    return float(_SHORTEST * 2.0 ** (bucket / _PER_DOUBLING))


def ends() -> list[float]:
    """Where each bucket ends, in seconds; the last one takes all that is longer, too."""
    return [begins_at(bucket + 1) for bucket in range(_BUCKETS)]


def _bucket(seconds: float) -> int:
    if seconds <= _SHORTEST:
        return 0
    return min(int(math.log2(seconds / _SHORTEST) * _PER_DOUBLING), _BUCKETS - 1)
