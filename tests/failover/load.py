"""A load of reads and writes on a data layer, and what came of each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import psycopg

from app.data_layer import DataLayer
from tests.failover.clusters import DATABASE
from tests.support.streaming import Node

COMPANY = 1
DOCUMENTED = {"ok", "unavailable", "outcome_unknown", "timeout"}
_PAUSE = 0.02  # seconds between two calls of a task


class Load:
    """What the tasks have done. Numbers rise from one load to the next, as the clock does.

    Attributes:
        codes: of all answers.
        acknowledged: the last number of each key that was acknowledged.
        begun: when the write of each key and number began, by the monotonic clock.
    """

    def __init__(self) -> None:
        self.codes: Counter[str] = Counter()
        self.acknowledged: dict[int, int] = {}
        self.begun: dict[tuple[int, int], float] = {}
        self._went_well: dict[str, list[float]] = {"read": [], "write": []}

    async def write(self, data: DataLayer, key: int) -> None:
        """Write one key again and again, each time a higher number."""
        number = int(monotonic() * 1000)
        while True:
            number += 1
            self.begun[key, number] = monotonic()
            row = {"yclients_id": key, "company_id": COMPANY, "phone": f"7900555{key:04d}", "name": str(number)}
            answer = await data.upsert_client(row)
            self._keep("write", answer.error_code)
            if answer.success:
                self.acknowledged[key] = number
            await asyncio.sleep(_PAUSE)

    async def read(self, data: DataLayer, key: int) -> None:
        """Read one key again and again."""
        while True:
            known = self.acknowledged.get(key, 0)
            answer = await data.get_client_by_id(key, COMPANY)
            code = answer.error_code
            if answer.success and known:
                assert answer.data is not None
                assert int(answer.data.name or 0) >= known
            self._keep("read", code)
            await asyncio.sleep(_PAUSE)

    def _keep(self, kind: str, code: str | None) -> None:
        self.codes[code or "ok"] += 1
        if code is None:
            self._went_well[kind].append(monotonic())

    async def both_go_on(self, moment: float, seconds: float) -> None:
        """Wait until a read and a write were answered well since a moment; AssertionError where that takes longer."""
        for kind, calls in self._went_well.items():
            while max(calls, default=0.0) < moment:
                assert monotonic() < moment + seconds, f"no {kind} is answered well after {seconds:g} s: {self.codes}"
                await asyncio.sleep(0.01)

    def lost(self, held: dict[int, int]) -> dict[int, tuple[int, int]]:
        """Keys of which a store holds less than was acknowledged: what it holds, and what was."""
        return {key: (held.get(key, 0), last) for key, last in self.acknowledged.items() if held.get(key, 0) < last}


def tokens(node: Node) -> dict[int, int]:
    """The number that a node holds of each key."""
    return rows_of(node.url(DATABASE))


def rows_of(url: str) -> dict[int, int]:
    """The same of a database."""
    with psycopg.connect(url) as connection:
        return dict(connection.execute("SELECT yclients_id, name::int FROM clients").fetchall())


@asynccontextmanager
async def load_on(data: DataLayer, writers: int = 4, readers: int = 4) -> AsyncIterator[Load]:
    """Reads and writes until the end of the block; what goes wrong in one of them is raised there."""
    load = Load()
    work = [load.write(data, key) for key in range(1, writers + 1)]
    work += [load.read(data, key) for key in range(1, readers + 1)]
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield load
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
