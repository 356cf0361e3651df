"""The primary is killed or stopped under a load of reads and writes, and its synchronous standby is promoted.

Half of the failovers come in the middle of a handover, forward or back, on a process that follows the stage's row.
Nothing that was acknowledged may be lost in either store, the old primary may take no write once there is a new one,
and callers may see documented codes only.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from app.cutover.stages import Stage
from app.data_layer import open_data_layer
from app.embedded import EmbeddedPostgres, SupabaseLite
from app.schema import revisions
from app.settings import Settings
from tests.chaos.listening import listening
from tests.chaos.scenario import Chaos, Scenario
from tests.failover.clusters import DATABASE, bot_cluster, set_stage, settings_for
from tests.failover.rounds import fail_over
from tests.support.streaming import Cluster

_FULL = 20  # of each kind
_LONGEST = 1.0  # seconds after the handover has begun that the primary fails


def run(chaos: Chaos) -> None:
    """Twenty times each: dies, hangs; alone, and during a handover."""
    for hangs in (False, True):
        with bot_cluster() as cluster:
            set_stage(cluster, Stage.COMPLETE)
            asyncio.run(_fail_over_often(chaos, cluster, settings_for(cluster.url(DATABASE)), hangs, None))
    directory = chaos.directory
    with EmbeddedPostgres.start(directory / "source", durable=False) as source:
        source.create_database("supabase")
        url = source.url("supabase")
        revisions.upgrade(url)
        with SupabaseLite.start(source, "supabase", directory / "lite") as lite:
            for hangs in (False, True):
                with bot_cluster() as cluster:
                    set_stage(cluster, Stage.SHADOW)
                    settings = _following(cluster, lite, directory / f"spool-{hangs}")
                    asyncio.run(_fail_over_often(chaos, cluster, settings, hangs, url))


def _following(cluster: Cluster, lite: SupabaseLite, spool: Path) -> Settings:
    return settings_for(
        cluster.url(DATABASE),
        cutover_stage="database",
        supabase_url=lite.url,
        supabase_key=lite.service_key,
        cutover_spool=spool,
        outcome_settles_after=2.0,
    )


async def _fail_over_often(chaos: Chaos, cluster: Cluster, settings: Settings, hangs: bool, source: str | None) -> None:
    where = f"failovers, {'hangs' if hangs else 'dies'}"
    with listening(chaos.transcript, where) as noises:
        await _rounds(chaos, cluster, settings, hangs, source)
    chaos.outcome.wrong += [f"{where}: {noise}" for noise in noises.found]


async def _rounds(chaos: Chaos, cluster: Cluster, settings: Settings, hangs: bool, source: str | None) -> None:
    outcome, chance = chaos.outcome, chaos.chance("failovers", hangs, source is None)
    async with open_data_layer(settings) as data:
        for number in range(chaos.of(_FULL)):
            old = cluster.primary
            place = f"{'hangs' if hangs else 'dies'}{' during a handover' if source else ''}, number {number}"
            outcome.injected += 1
            try:
                await fail_over(cluster, data, hangs=hangs, source=source, after=chance.uniform(0.0, _LONGEST))
                outcome.survived += 1
            except AssertionError as error:
                outcome.wrong.append(f"{place}: {error}")
            if old is cluster.primary:
                return  # it was not promoted
            await asyncio.to_thread(cluster.add_standby, f"again{number}", replaces=old)
            cluster.be_synchronous(f"again{number}")


SCENARIO = Scenario(
    "failovers", "the primary dies or hangs under load, alone and during a handover, and a standby takes over", run
)
