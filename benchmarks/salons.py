"""A thousand salons of one process, each in a schema of its own, beside one of them: p50, memory, and their idle cost.

The first schema is made by the revisions, the others by its statements, as pg_dump has them, under their names. One
caller makes the calls of a bot, in one salon after the other, and as many in one of them, by turns.
"""

from __future__ import annotations

import asyncio
import random
import re
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from time import perf_counter

import psycopg

from app.data_layer import open_data_layers
from app.data_layer.salons import Salons
from app.embedded import EmbeddedPostgres
from app.embedded.salon import fill_salon
from app.migration.target.target_session import open_target
from app.schema import revisions
from app.settings import Settings
from app.state.tool_schema import ensure_tool_schema
from benchmarks.bot_load import SCHEDULES, BotLoad, Waited
from benchmarks.bot_stores import POOL_SIZE
from benchmarks.row import Row, Size, by_turns, ratio
from tests.support.other_schemas import in_schema, searching

_MOST = 1.3
_SEED = "salon_to_be_repeated"
_ALL, _ONE = "all salons", "one salon"
_MAKERS = 2


def rows(size: Size) -> Iterator[Row]:
    """One row."""
    count = size.of(1_000, 10)
    with EmbeddedPostgres.start(durable=False) as postgres, asyncio.Runner() as runner:
        url = postgres.create_database("salons")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET autovacuum = off")  # else its transactions are counted with ours
            connection.execute("SELECT pg_reload_conf()")
        began = perf_counter()
        names = _make(postgres, url, count, runner)
        yield _row(runner, url, names, size, perf_counter() - began)


def _make(postgres: EmbeddedPostgres, url: str, count: int, runner: asyncio.Runner) -> list[str]:
    """The schemas, with forty clients each; their names."""
    revisions.upgrade(in_schema(url, _SEED))
    runner.run(_tool_schema(in_schema(url, _SEED)))
    of_a_salon = {"clients": 40, "services": 60, "bookings": 20, "schedules": SCHEDULES, "dialog_contexts": 20}
    fill_salon(searching(url, _SEED), baileys_keys=0, **of_a_salon)
    dump = [postgres.binary("pg_dump"), "--no-owner", "--rows-per-insert=1000", "-n", f"{_SEED}*", url]
    text = subprocess.run(dump, capture_output=True, text=True, check=True).stdout
    statements = re.sub(r"(?m)^\\(un)?restrict .*$", "", text)  # psql's own
    names = [f"t{number}" for number in range(count)]

    def make(some: Sequence[str]) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            for name in some:
                connection.execute(statements.replace(_SEED, name).encode())

    with ThreadPoolExecutor(_MAKERS) as pool:
        list(pool.map(make, [names[first::_MAKERS] for first in range(_MAKERS)]))
    return names


async def _tool_schema(url: str) -> None:
    async with open_target(url, step="benchmark") as connection:
        await ensure_tool_schema(connection)


def _row(runner: asyncio.Runner, url: str, names: list[str], size: Size, making: float) -> Row:
    settings = Settings(_env_file=None, use_repository_pattern=True, database_url=url, database_pool_size=POOL_SIZE)
    opened = AsyncExitStack()
    own = _resident()
    salons = runner.run(opened.enter_async_context(open_data_layers(lambda _: {}, settings)))
    began = perf_counter()
    runner.run(salons.open(*names))
    opening = perf_counter() - began
    load = _Load(salons)
    try:
        runner.run(load.calls(names, len(names) * size.of(40, 5)))  # caches, and plans that are kept after some calls
        ways = {_ALL: names, _ONE: names[:1]}
        calls = size.of(1_000, 50)
        figures = by_turns(
            size.of(9, 2),
            {name: lambda of=of: median(runner.run(load.calls(of, calls)).all) for name, of in ways.items()},
        )
        each = (_resident() - own) / len(names) * 1000
        servers, largest = _server_memory(url)
        runner.run(asyncio.sleep(size.of(15, 0)))  # server processes that are idle report what they did late
        awake = runner.run(_transactions(url, size.of(10, 2)))
    finally:
        runner.run(opened.aclose())
    times = ratio(figures, _ALL, _ONE)
    p50 = [median(figures[name]) * 1000 for name in (_ALL, _ONE)]
    measured = (
        f"{times:.2f}x ({p50[0]:.2f} ms against {p50[1]:.2f} ms); each salon {each:.0f} kB of the process; "
        f"{servers:.0f} MB in all server processes, {largest:.0f} MB in the largest; idle and awake, all salons cost "
        f"{awake:.0f} transactions/s; made in {making:.0f} s, opened in {opening:.0f} s"
    )
    what = f"the calls of a bot, one caller, {len(names):,} salons of one process by a pool of {POOL_SIZE}, p50"
    return Row(what, "the same in one of them, by turns", f"at most {_MOST:g}x", measured, times <= _MOST, figures)


class _Load:
    def __init__(self, salons: Salons) -> None:
        self._salons = salons
        self._bots: dict[str, BotLoad] = {}
        self._random = random.Random(1)

    async def calls(self, names: Sequence[str], count: int) -> Waited:
        """One after the other, the next salon's each time."""
        waited = Waited()
        for number in range(count):
            await self._bot(names[number % len(names)]).call_one(waited)
        return waited

    def _bot(self, name: str) -> BotLoad:
        if name not in self._bots:
            self._bots[name] = BotLoad(self._salons[name], 0)
        return self._bots[name]


def _resident() -> float:
    """Of this process, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def _server_memory(url: str) -> tuple[float, float]:
    """What the server processes have for themselves, in MB: in all, and the largest."""
    with psycopg.connect(url) as connection:
        asked = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        pids = [pid for (pid,) in connection.execute(asked)]
    sizes = []
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        sizes.append(next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) / 1000)
    return sum(sizes), max(sizes)


async def _transactions(url: str, seconds: float) -> float:
    """That the server carries out in a second while nobody calls."""
    asked = (
        b"SELECT pg_stat_clear_snapshot(), xact_commit + xact_rollback FROM pg_stat_database "
        b"WHERE datname = current_database()"
    )
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        counts = []
        for _ in range(2):
            row = await (await connection.execute(asked)).fetchone()
            counts.append(row[1] if row else 0)
            await asyncio.sleep(seconds)
    return (counts[1] - counts[0]) / seconds
