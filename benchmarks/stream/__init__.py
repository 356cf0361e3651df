"""The change stream (`botdata sync --by stream`): its lag under load, its memory, what it costs, and how fast it is.

`python -m benchmarks.stream` takes other sizes than the suite does.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.row import Row, Size
from benchmarks.stream import idle, lag, subscription


def rows(size: Size) -> Iterator[Row]:
    """Every row of the suite."""
    yield from lag.rows(clients=size.of(1_000_000, 20_000), seconds=size.of(300, 5), rate=size.of(2000, 500))
    yield from idle.rows(few=size.of(10_000, 1_000), many=size.of(1_000_000, 5_000), seconds=size.of(60, 5))
    yield from subscription.rows(
        clients=size.of(200_000, 20_000), changes=size.of(200_000, 1_000), rounds=size.of(3, 1)
    )
