"""A thousand callers at once on a pool of ten connections: nobody gets an error, and nobody waits far longer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from statistics import quantiles
from time import perf_counter

from app.data_layer import DataLayer
from app.embedded.salon.ids import phone
from benchmarks.bot_stores import POOL_SIZE, open_stores
from benchmarks.row import Row, Size

_CALLERS = 1_000
_MOST = 20.0  # times the p50


def rows(size: Size) -> Iterator[Row]:
    """The one row: 60 s of calls without a pause."""
    seconds = size.of(60, 2)
    with open_stores(clients=size.of(20_000, 2_000)) as stores:
        took, errors = stores.run(_call(stores.data, seconds))
    hundredths = quantiles(took, n=100)
    p50, p99 = hundredths[49], hundredths[98]
    measured = (
        f"{errors.total()} errors in {len(took):,} calls{''.join(f', {code}' for code in errors)}; "
        f"p99 {p99 / p50:.1f}x p50 ({p99 * 1000:.0f} ms against {p50 * 1000:.0f} ms)"
    )
    reached = not errors and p99 < _MOST * p50
    what = f"{_CALLERS:,} concurrent callers on a pool of {POOL_SIZE}, {seconds} s"
    samples = {"p50": [p50], "p99": [p99], "longest": [max(took)]}
    yield Row(what, "their own p50", f"no error, p99 under {_MOST:g}x p50", measured, reached, samples)


async def _call(data: DataLayer, seconds: float) -> tuple[list[float], Counter[str | None]]:
    """The seconds that each call took, and the errors by code."""
    took: list[float] = []
    errors: Counter[str | None] = Counter()
    phones = cycle([phone(0, number) for number in range(200, 1_000)])
    until = perf_counter() + seconds

    async def caller() -> None:
        while (began := perf_counter()) < until:
            answer = await data.get_client_by_phone(next(phones))
            took.append(perf_counter() - began)
            if not answer.success:
                errors[answer.error_code] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(_CALLERS):
            group.create_task(caller())
    return took, errors
