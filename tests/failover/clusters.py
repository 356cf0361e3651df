"""A cluster that holds the bot's tables and those of the tool, and settings for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from app.migration.target.target_session import open_target
from app.schema import revisions
from app.settings import Settings
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

        async def ensure() -> None:
            async with open_target(url, step="test") as connection:
                await ensure_tool_schema(connection)

        with ThreadPoolExecutor(1) as pool:  # the caller may be inside of a loop
            pool.submit(asyncio.run, ensure()).result()
        cluster.wait_for_standbys()
        if synchronous:
            cluster.be_synchronous(*NAMES[:standbys])
        yield cluster


def settings_for(url: str, **given: Any) -> Settings:
    """Settings of a bot that has only PostgreSQL."""
    return Settings(
        _env_file=None,
        database_url=url,
        use_repository_pattern=True,
        cutover_stage="complete",
        **{"query_timeout": 20.0, **given},
    )
