"""What the gates warn of where a failover may lose something."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from app.cutover.moves.gates.standby_gate import Standbys, read_standbys, warnings
from app.cutover.moves.status import look, see
from app.cutover.stages import Stage
from app.migration.target.target_session import open_target
from app.settings import Settings
from tests.failover.clusters import DATABASE, bot_cluster, set_stage
from tests.support.streaming import Cluster

_ALL = Standbys(timeline=1, are_named=True, are_waited_for=True, following=1, synchronous=1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with bot_cluster() as cluster:
        set_stage(cluster, Stage.SHADOW)
        yield cluster


async def _read(url: str) -> Standbys:
    async with open_target(url, step="test") as connection:
        return await read_standbys(connection)


async def test_what_is_read(cluster: Cluster) -> None:
    url = cluster.url(DATABASE)
    assert await _read(url) == _ALL
    cluster.primary.execute("CREATE ROLE watcher LOGIN")
    blind = make_url(cluster.primary.url(DATABASE)).set(username="watcher").render_as_string()
    assert await _read(blind) == _ALL._replace(synchronous=None)
    cluster.be_synchronous()
    assert await _read(url) == _ALL._replace(are_named=False, synchronous=0)
    async with open_target(url, step="test") as connection:
        seen = await see(connection)
    assert seen.row.stage is Stage.SHADOW
    (warned,) = seen.warnings  # of the next stage
    assert "no standby is synchronous: a failover may lose the last writes" in warned.what
    await asyncio.to_thread(cluster.be_synchronous, "standby1")


async def test_a_target_that_takes_no_writes_does_not_have_its_silent_processes_forgotten(cluster: Cluster) -> None:
    url = cluster.url(DATABASE)
    cluster.primary.execute(
        "INSERT INTO botdata.processes (name, stage, chosen_by, reported_at) "
        "VALUES ('bot', 'shadow', 'CUTOVER_STAGE=database', now() - interval '1 hour')",
        database=DATABASE,
    )
    cluster.primary.execute(f"ALTER DATABASE {DATABASE} SET default_transaction_read_only = on")
    try:
        settings = Settings(_env_file=None, database_url=url, supabase_url="http://127.0.0.1:1", supabase_key="x")
        for database in (url, cluster.standbys[0].url(DATABASE)):
            seen = await look(settings.model_copy(update={"database_url": SecretStr(database)}))
            (trouble,) = seen.troubles
            assert "takes no writes" in trouble.what
            assert "forget" not in trouble.remedy
            assert (seen.objections, seen.unasked) == (None, trouble.what)
    finally:
        cluster.primary.execute(f"ALTER DATABASE {DATABASE} RESET default_transaction_read_only")
    seen = await look(settings)
    assert "forget bot" in seen.troubles[0].remedy


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (_ALL, None),
        (_ALL._replace(are_named=False, synchronous=0), "no standby is synchronous: a failover may lose the last"),
        (_ALL._replace(are_named=False, following=0, synchronous=0), "PostgreSQL has no standby"),
        (_ALL._replace(are_waited_for=False), "synchronous_commit is off or local"),
        (_ALL._replace(synchronous=None), "is not known"),
        (_ALL._replace(synchronous=0), "no commit ends"),
        (Standbys(None, are_named=False, are_waited_for=True, following=0, synchronous=0), "is a standby itself"),
    ],
)
def test_what_is_warned_of(found: Standbys, said: str | None) -> None:
    assert warnings(found, Stage.DUALWRITE, Stage.SHADOW, None) == ()
    assert [said in one.what for one in warnings(found, Stage.LIVE) if said] == [True] * bool(said)
    assert bool(warnings(found, Stage.LIVE)) is bool(said)
