"""What the callers of a mixed bot load wait: at stage `off`, at `shadow` with every read compared, and at `complete`.

One process and one loop hold a data layer for each stage, fixed by CUTOVER_STAGE, each with a salon of its own, so that
none sees what another writes. They are loaded by turns with the same calls at the same random times.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from app.cutover.stages import Stage
from app.data_layer import DataLayer, open_data_layer
from app.embedded import EmbeddedPostgres, SupabaseLite
from app.embedded.salon import fill_salon
from app.migration.target.target_session import open_target
from app.schema import revisions
from app.settings import Settings
from app.state.tool_schema import ensure_tool_schema
from benchmarks.bot_load import CLIENTS, SCHEDULES, BotLoad, Waited
from benchmarks.row import Row, Size, by_turns, ratio

_STAGES = (Stage.OFF, Stage.SHADOW, Stage.COMPLETE)
_AT_MOST = 1.15
_TASKS = 4  # that load a core
_QUIET = 0.3  # seconds after a block, for what still runs beside the calls


class _Bots:
    """A loop with a bot at each stage."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._runner = asyncio.Runner()
        self._open = AsyncExitStack()
        self._settings = settings
        self.waited: dict[Stage, list[Waited]] = {stage: [] for stage in _STAGES}
        self.data: dict[Stage, DataLayer] = {}
        for stage in _STAGES:
            opening = open_data_layer(Settings(_env_file=None, cutover_stage=stage, **settings))
            self.data[stage] = self._runner.run(self._open.enter_async_context(opening))

    def saturating(self, stage: Stage, calls: int) -> float:
        """Calls per second that are answered without a pause: a core is busy then, this process's or the store's."""
        load = self._load(stage, 0)
        self._runner.run(load.at_once(calls // 4, _TASKS))  # caches, connections
        began = perf_counter()
        self._runner.run(load.at_once(calls, _TASKS))
        return calls / (perf_counter() - began)

    def block(self, stage: Stage, calls: int, rate: float) -> float:
        """Median of the seconds that the callers of one block waited."""
        load = self._load(stage, len(self.waited[stage]) + 1)

        async def arrive() -> Waited:
            waited = await load.arrive(calls, rate)
            await asyncio.sleep(_QUIET)
            return waited

        waited = self._runner.run(arrive())
        self.waited[stage].append(waited)
        return median(waited.all)

    def compared(self) -> str:
        """How many of the reads at `shadow` were compared, and with what outcome."""
        count = self.data[Stage.SHADOW].metrics.total
        return (
            f"{count('comparisons'):,} reads at shadow, {count('comparisons', outcome='equal'):,} compared and equal, "
            f"{count('comparisons', outcome='different')} different"
        )

    def close(self) -> None:
        """End all of it."""
        with self._runner:
            self._runner.run(self._open.aclose())

    def _load(self, stage: Stage, seed: int) -> BotLoad:
        return BotLoad(self.data[stage], _STAGES.index(stage), seed)


def rows(size: Size) -> Iterator[Row]:
    """One row."""
    with tempfile.TemporaryDirectory(prefix="botdata-stages-") as name, ExitStack() as servers:
        directory = Path(name)
        postgres = servers.enter_context(EmbeddedPostgres.start(durable=False))
        bots = _Bots(_stores(postgres, servers, directory))
        servers.callback(bots.close)
        rate = bots.saturating(Stage.OFF, size.of(800, 40)) / 2
        for stage in _STAGES:
            bots.block(stage, size.of(200, 20), rate)  # caches, connections
        for waited in bots.waited.values():
            waited.clear()
        calls = size.of(300, 20)
        turns = {stage: lambda stage=stage: bots.block(stage, calls, rate) for stage in _STAGES}
        figures = by_turns(size.of(15, 1), turns)
        yield _row(figures, bots, rate)


def _row(figures: dict[str, list[float]], bots: _Bots, rate: float) -> Row:
    samples = dict(figures)
    parts = {}
    for kind in ("reads", "writes"):
        for stage in _STAGES:
            samples[f"{stage}, {kind}"] = [median(getattr(one, kind) or [0.0]) for one in bots.waited[stage]]
        parts[kind] = _beside_off(samples, kind)
    times = ratio(figures, Stage.SHADOW, Stage.OFF)
    measured = (
        f"{times:.2f}x ({_milliseconds(figures[Stage.SHADOW])} against {_milliseconds(figures[Stage.OFF])}; "
        f"{parts['reads']}; {parts['writes']}); complete {ratio(figures, Stage.COMPLETE, Stage.OFF):.2f}x of off "
        f"({_milliseconds(figures[Stage.COMPLETE])}); {rate:.0f} calls/s, {bots.compared()}"
    )
    what = "a mixed bot load at stages `off`, `shadow` and `complete`, p50 of what callers wait"
    to_reach = f"shadow at most {_AT_MOST:g}x"
    return Row(what, "`shadow` against `off`", to_reach, measured, times <= _AT_MOST, samples)


def _beside_off(samples: dict[str, list[float]], kind: str) -> str:
    shadow, off = f"{Stage.SHADOW}, {kind}", f"{Stage.OFF}, {kind}"
    times = ratio(samples, shadow, off)
    return f"{kind} {times:.2f}x, {_milliseconds(samples[shadow])} against {_milliseconds(samples[off])}"


def _milliseconds(seconds: list[float]) -> str:
    return f"{median(seconds) * 1000:.1f} ms"


def _stores(postgres: EmbeddedPostgres, servers: ExitStack, directory: Path) -> dict[str, Any]:
    """Settings of the two stores, with the same salons in both."""
    target = ""
    for name in ("supabase", "bot"):
        target = postgres.create_database(name)
        revisions.upgrade(target)
        rows_of_a_salon = {"clients": CLIENTS, "schedules": SCHEDULES, "bookings": 400}
        fill_salon(target, companies=len(_STAGES), dialog_contexts=300, baileys_keys=0, **rows_of_a_salon)
    asyncio.run(_tool_schema(target))
    lite = servers.enter_context(SupabaseLite.start(postgres, "supabase", directory))
    return {
        "supabase_url": lite.url,
        "supabase_key": lite.service_key,
        "database_url": target,
        "cutover_spool": directory / "spool",
        "health_check_timeout": 30.0,
    }


async def _tool_schema(url: str) -> None:
    async with open_target(url, step="benchmark") as connection:
        await ensure_tool_schema(connection)
