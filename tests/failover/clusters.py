"""A cluster that holds the bot's tables and those of the tool, and settings for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from psycopg import AsyncConnection

from app.cutover.stages import Stage
from app.migration.target.target_session import open_target
from app.schema import revisions
from app.settings import Settings
from app.state.cutover.stage import move_stage
from app.state.tool_schema import ensure_tool_schema
from tests.support.streaming import Cluster, run_cluster

DATABASE = "bot"
NAMES = ("standby1", "standby2")


@contextmanager
def bot_cluster(standbys: int = 1, *, synchronous: bool = True) -> Iterator[Cluster]:
    """A cluster with a database `bot`, at the stage `off`, which every node holds."""
    with run_cluster(standbys) as cluster:
        cluster.primary.execute(f"CREATE DATABASE {DATABASE}")
        url = cluster.primary.url(DATABASE)
        revisions.upgrade(url)

        _at(url, ensure_tool_schema)
        cluster.wait_for_standbys()
        if synchronous:
            cluster.be_synchronous(*NAMES[:standbys])
        yield cluster


def set_stage(cluster: Cluster, stage: Stage) -> None:
    """Move the stage as a command does, without its gates; wait until the standbys know."""
    _at(cluster.primary.url(DATABASE), lambda connection: move_stage(connection, stage))
    cluster.wait_for_standbys()


def _at(url: str, act: Callable[[AsyncConnection], Awaitable[None]]) -> None:
    async def carry_out() -> None:
        async with open_target(url, step="test") as connection:
            await act(connection)

    with ThreadPoolExecutor(1) as pool:  # the caller may be inside of a loop
        pool.submit(asyncio.run, carry_out()).result()


def settings_for(url: str, **given: Any) -> Settings:
    """Settings of a bot that has only PostgreSQL, unless they say otherwise."""
    fixed: dict[str, Any] = {"database_url": url, "cutover_stage": "complete", "query_timeout": 20.0}
    return Settings(_env_file=None, **(fixed | given))
