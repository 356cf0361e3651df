"""The primary dies, or hangs, under a load of reads and writes, and a standby takes over."""

from __future__ import annotations

import asyncio

import pytest

from app.cutover.stages import Stage
from app.data_layer import open_data_layer
from tests.failover.clusters import DATABASE, bot_cluster, set_stage, settings_for
from tests.failover.rounds import fail_over


@pytest.mark.parametrize("hangs", [False, True], ids=["dies", "hangs"])
async def test_calls_go_on_after_a_failover_and_lose_nothing(hangs: bool) -> None:
    with bot_cluster() as cluster:
        set_stage(cluster, Stage.COMPLETE)
        async with open_data_layer(settings_for(cluster.url(DATABASE))) as data:
            await fail_over(cluster, data, hangs=hangs)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("hangs", [False, True], ids=["dies", "hangs"])
async def test_twenty_failovers(hangs: bool) -> None:
    with bot_cluster() as cluster:
        set_stage(cluster, Stage.COMPLETE)
        async with open_data_layer(settings_for(cluster.url(DATABASE))) as data:
            for number in range(20):
                old = cluster.primary
                await fail_over(cluster, data, hangs=hangs)
                await asyncio.to_thread(cluster.add_standby, f"again{number}", replaces=old)
                cluster.be_synchronous(f"again{number}")
