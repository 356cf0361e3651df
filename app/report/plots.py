"""The plot of a method's latencies: how often each store took how long, as bars for an SVG."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from app.common.latency import begins_at

WIDTH, HEIGHT, BASE = 288, 96, 42  # of the drawing; BASE: the line between the stores
_TALLEST = 36
_FROM, _TO = 1e-4, 10.0  # seconds; what is faster or slower is drawn at the edge
TICKS = (0.001, 0.01, 0.1, 1.0)


class Bar(NamedTuple):
    """A rectangle in the units of the drawing."""

    x: float
    y: float
    width: float
    height: float


def bars(counts: Sequence[int], highest: float, *, up: bool) -> list[Bar]:
    """One bar for each bucket that has calls.

    Args:
        counts: by bucket.
        highest: the share that is drawn as high as there is room, see `highest_share`.
        up: above the line.
    """
    total = sum(counts)
    drawn = []
    for bucket, count in enumerate(counts):
        if count:
            left, right = position(begins_at(bucket)), position(begins_at(bucket + 1))
            height = round(max(0.8, _TALLEST * count / total / highest), 1)
            width = round(max(1.0, right - left - 0.4), 1)
            drawn.append(Bar(round(min(left, WIDTH - 1.0), 1), BASE - height if up else BASE + 1, width, height))
    return drawn


def highest_share(*stores: Sequence[int]) -> float:
    """The largest share of a store's calls that is in one bucket; 1 without calls."""
    return max([max(counts) / sum(counts) for counts in stores if sum(counts)], default=1.0)


def position(seconds: float) -> float:
    """Where a time is, from the left."""
    within = min(max(seconds, _FROM), _TO)
    return round(WIDTH * math.log(within / _FROM) / math.log(_TO / _FROM), 1)
