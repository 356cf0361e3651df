"""One caller through PgBouncer in transaction mode, beside the same calls straight to its server.

Two data layers with pools of one size are on one server, in one process and loop, and called by turns. Both
PgBouncer and its server are reached by sockets of this machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from statistics import median

from app.data_layer import DataLayer, open_data_layer
from app.embedded import EmbeddedPostgres
from app.embedded.salon import fill_salon
from app.migration.target.target_session import open_target
from app.schema import revisions
from app.settings import Settings
from app.state.tool_schema import ensure_tool_schema
from benchmarks.bot_load import CLIENTS, SCHEDULES, BotLoad, Waited
from benchmarks.bot_stores import POOL_SIZE
from benchmarks.row import Row, Size, at_most, by_turns
from tests.pooler.bouncer import program, run_bouncer

_MOST = 2.0
_POOLED, _DIRECT = "through PgBouncer", "direct"
_AGAINST = f"the same straight to its server, pools of {POOL_SIZE} on all sides"


def rows(size: Size) -> Iterator[Row]:
    """The reads of a bot, and all of its calls."""
    if program() is None:
        raise RuntimeError("pgbouncer is not installed (Debian's package of that name)")
    with EmbeddedPostgres.start(durable=False) as postgres:
        url = postgres.create_database("bot")
        revisions.upgrade(url)
        of_a_salon = {"clients": CLIENTS, "schedules": SCHEDULES, "bookings": 400}
        fill_salon(url, companies=1, dialog_contexts=300, baileys_keys=0, **of_a_salon)
        with run_bouncer(url, size=POOL_SIZE) as bouncer, asyncio.Runner() as runner:
            runner.run(_tool_schema(url))
            yield from _rows(runner, {_POOLED: bouncer.socket_url(url), _DIRECT: url}, size)


def _rows(runner: asyncio.Runner, urls: dict[str, str], size: Size) -> Iterator[Row]:
    opened = AsyncExitStack()
    waited: dict[str, list[Waited]] = {name: [] for name in urls}
    try:
        layers = {name: runner.run(_open(opened, url)) for name, url in urls.items()}

        def block(name: str) -> float:
            load = BotLoad(layers[name], 0, len(waited[name]) + 1)
            waited[name].append(runner.run(load.at_once(size.of(300, 100), 1)))
            return median(waited[name][-1].all)

        for name in layers:
            runner.run(BotLoad(layers[name], 0).at_once(100, 1))  # caches, connections, prepared statements
        mixed = by_turns(size.of(15, 2), {name: lambda name=name: block(name) for name in layers})
    finally:
        runner.run(opened.aclose())
    for what, figures in {
        "the reads of a bot, one caller, p50": _of(waited, "reads"),
        "its reads and writes, one caller, p50": mixed | {f"{n}, writes": f for n, f in _of(waited, "writes").items()},
    }.items():
        yield at_most(_MOST, f"{what}: through PgBouncer in transaction mode", _AGAINST, figures, _POOLED, _DIRECT)


def _of(waited: dict[str, list[Waited]], kind: str) -> dict[str, list[float]]:
    return {name: [median(getattr(one, kind)) for one in blocks] for name, blocks in waited.items()}


async def _tool_schema(url: str) -> None:
    async with open_target(url, step="benchmark") as connection:
        await ensure_tool_schema(connection)


async def _open(opened: AsyncExitStack, url: str) -> DataLayer:
    settings = Settings(_env_file=None, use_repository_pattern=True, database_url=url, database_pool_size=POOL_SIZE)
    return await opened.enter_async_context(open_data_layer(settings))
