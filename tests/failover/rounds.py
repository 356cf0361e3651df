"""One failover under load, and all that is promised of it; with a handover in the middle, where one is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import psycopg

from app.cutover.moves.handover import Crossing, cross
from app.cutover.stages import Stage
from app.data_layer import DataLayer
from app.errors import MigrationError
from app.migration.target.target_session import open_target
from tests.failover.clusters import DATABASE
from tests.failover.load import DOCUMENTED, load_on, rows_of, tokens
from tests.support.machine import times_as_long
from tests.support.streaming import Cluster

# Seconds after a new primary is there that calls may still fail. An old one that died is found out at once: the rest is
# work, which takes longer on a busy machine. One that hangs is found out by time-outs, whatever the machine does.
_DIES, _HANGS = 1.0, 10.0
_HOLD = 5.0  # seconds, for a handover
_SETTLED = 60.0  # seconds until both stores are to hold what was written
_LEFT = "SELECT (SELECT count(*) FROM botdata.notes) + (SELECT count(*) FROM botdata.outbox)"


async def fail_over(
    cluster: Cluster, data: DataLayer, *, hangs: bool, source: str | None = None, after: float = 0.1
) -> None:
    """Kill or stop the primary under a load, promote the first standby, and look at what came of it.

    The old primary is none of the cluster's afterwards, and goes on where it was only stopped.

    Args:
        source: the database behind the Supabase, to which the authority is moved meanwhile, or from there.
        after: seconds after which the primary fails, from when the handover begins.
    """
    old = cluster.primary
    async with load_on(data) as load, _handover(cluster if source else None):
        await asyncio.sleep(after)
        await asyncio.to_thread(old.hang if hangs else old.kill)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(cluster.promote, cluster.standbys[0])
        promoted = monotonic()
        seconds = _HANGS if hangs else _DIES * times_as_long()
        await load.both_go_on(promoted, seconds + (2 * _HOLD if source else 0))
        if hangs:
            old.wake()
            await asyncio.sleep(1.0)
    if source:
        await _settle(cluster)
        assert load.lost(rows_of(source)) == {}, "lost in Supabase"
    assert load.lost(tokens(cluster.primary)) == {}
    assert set(load.codes) <= DOCUMENTED, load.codes
    if hangs:
        late = {key: number for key, number in tokens(old).items() if load.begun.get((key, number), 0.0) > promoted}
        assert late == {}, "the old primary took writes"


@asynccontextmanager
async def _handover(cluster: Cluster | None) -> AsyncIterator[None]:
    """Move the authority meanwhile, to the stage where it is not."""
    if cluster is None:
        await asyncio.sleep(0.4)
        yield
        return
    await asyncio.sleep(0.3)
    ((name,),) = cluster.primary.execute("SELECT stage FROM botdata.stage", DATABASE)
    here = Stage(name)
    to = Stage.LIVE if here is Stage.SHADOW else Stage.SHADOW
    kind = "advance" if to is Stage.LIVE else "back"
    moving = asyncio.create_task(_cross(cluster.url(DATABASE), Crossing(kind, here, to, _HOLD)))
    try:
        yield
    finally:
        await moving


async def _cross(url: str, crossing: Crossing) -> None:
    try:
        async with open_target(url, step=crossing.step) as connection:
            await cross(url, connection, crossing)
    except (MigrationError, psycopg.Error):  # what it says of itself; the stores are asked
        pass


async def _settle(cluster: Cluster) -> None:
    """Wait until neither store has anything on its way to the other."""
    deadline = monotonic() + _SETTLED
    while cluster.primary.execute(_LEFT, DATABASE) != [(0,)]:
        assert monotonic() < deadline, cluster.primary.execute(
            "SELECT 'journal', last_error FROM botdata.notes UNION SELECT 'outbox', last_error FROM botdata.outbox",
            DATABASE,
        )
        await asyncio.sleep(0.1)
