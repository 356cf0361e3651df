"""Reads from standbys: never older than what this process wrote, nor than what a standby has shown it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from app.cutover.staged_backend import StagedBackend
from app.cutover.stages import Store
from app.data_layer import DataLayer, open_data_layer
from app.repositories.backend import RepositoryBackend
from app.settings import Settings
from app.stores.postgres.read_router import ReadRouter
from tests.fixtures.streaming import DATABASE
from tests.support.streaming import Cluster, Node

pytestmark = pytest.mark.xdist_group("standbys")

_COMPANY = {"company_id": 7, "title": "0"}


def _settings(cluster: Cluster, *hosts: Node, **given: Any) -> Settings:
    ports = ",".join(str(node.port) for node in hosts or cluster.standbys)
    names = ",".join("127.0.0.1" for _ in hosts or cluster.standbys)
    read_url = f"postgresql://postgres@/{DATABASE}?host={names}&port={ports}"
    return Settings(
        _env_file=None,
        **{
            "use_repository_pattern": True,
            "database_url": cluster.primary.url(DATABASE),
            "database_read_url": read_url,
            **given,
        },
    )


def router_of(data: DataLayer) -> ReadRouter:
    backend = cast(StagedBackend, data._backend)._stores[Store.POSTGRES]
    router = cast(RepositoryBackend, backend).router
    assert router is not None
    return router


@asynccontextmanager
async def opened(settings: Settings, answering: int = 2) -> AsyncIterator[tuple[DataLayer, ReadRouter]]:
    """A data layer, once so many standbys answer."""
    async with open_data_layer(settings) as data:
        router = router_of(data)
        await until(lambda: len(used(router)) == answering and router._mark.current is not None)
        yield data, router


def used(router: ReadRouter) -> list[str]:
    return [one.name for one in router.report() if one.state == "answers"]


async def until(holds: Any, seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - the state of servers
            await asyncio.sleep(0.02)


async def _write(data: DataLayer, title: str) -> None:
    answer = await data.upsert_company({**_COMPANY, "title": title})
    assert answer.success, answer.error


async def _title(data: DataLayer) -> str:
    answer = await data.get_company(7)
    assert answer.success, answer.error
    return str(answer.data.title) if answer.data else ""


async def test_what_was_written_is_read_and_a_standby_answers(standbys: Cluster) -> None:
    async with opened(_settings(standbys)) as (data, router):
        for number in range(20):
            await _write(data, str(number))
            assert await _title(data) == str(number)
        standbys.wait_for_standbys()
        before = router.share()
        for _ in range(20):
            assert await _title(data) == "19"
        assert router.share()[0] - before[0] == 20
