"""The primary dies, or hangs, under a load of reads and writes, and a standby takes over."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from app.cutover.stages import Stage
from app.data_layer import open_data_layer
from tests.failover.clusters import DATABASE, bot_cluster, set_stage, settings_for
from tests.failover.load import DOCUMENTED, load_on, tokens
from tests.support.streaming import Cluster

_DIES, _HANGS = 1.0, 10.0  # seconds after a new primary is there that calls may still fail


async def fail_over(cluster: Cluster, *, hangs: bool) -> None:
    """One failover under load, with all that is promised of it; the old primary is none of the cluster's afterwards."""
    settings = settings_for(cluster.url(DATABASE))
    async with open_data_layer(settings) as data, load_on(data) as load:
        await asyncio.sleep(0.5)
        old = cluster.primary
        await asyncio.to_thread(old.hang if hangs else old.kill)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(cluster.promote, cluster.standbys[0])
        promoted = monotonic()
        await load.both_go_on(promoted, _HANGS if hangs else _DIES)
        if hangs:
            old.wake()
            await asyncio.sleep(1.0)
    assert load.lost(cluster.primary) == {}
    assert set(load.codes) <= DOCUMENTED, load.codes
    if hangs:
        assert [key for key, number in tokens(old).items() if load.begun[key, number] > promoted] == []


@pytest.mark.parametrize("hangs", [False, True], ids=["dies", "hangs"])
async def test_calls_go_on_after_a_failover_and_lose_nothing(hangs: bool) -> None:
    with bot_cluster() as cluster:
        set_stage(cluster, Stage.COMPLETE)
        await fail_over(cluster, hangs=hangs)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("hangs", [False, True], ids=["dies", "hangs"])
async def test_twenty_failovers(hangs: bool) -> None:
    with bot_cluster() as cluster:
        set_stage(cluster, Stage.COMPLETE)
        for number in range(20):
            old = cluster.primary
            await fail_over(cluster, hangs=hangs)
            name = f"again{number}"
            await asyncio.to_thread(cluster.add_standby, name, replaces=old)
            cluster.be_synchronous(name)
