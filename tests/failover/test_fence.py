"""What is older than what a process has seen, after a failover: a server, and the row of the stage."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import Text, literal_column, select, text

from app.cutover.failover_mark import FailoverMark, MoveLostError, StaleServerError
from app.cutover.fencing import WriteGuard
from app.cutover.membership import Membership
from app.cutover.stages import Stage
from app.data_layer import open_data_layer
from app.errors import MigrationError
from app.migration.target.target_session import open_target
from app.repositories import UnitOfWork
from app.state.cutover.stage import StageRow
from app.state.fetching import fetch_value
from app.stores.postgres.database import Database
from tests.failover.clusters import DATABASE, bot_cluster, set_stage, settings_for
from tests.failover.load import tokens
from tests.support.relay import Relay
from tests.support.rounds import Rounds
from tests.support.streaming import Node

_CLIENT = {"yclients_id": 1, "company_id": 1, "phone": "79684484401", "name": "1"}


@pytest.fixture(scope="module")
def two_primaries() -> Iterator[tuple[Node, Node]]:
    """An old primary that is alive, and the new one."""
    with bot_cluster(synchronous=False) as cluster:
        set_stage(cluster, Stage.COMPLETE)
        old = cluster.promote(cluster.standbys[0])
        yield old, cluster.primary


async def _write(database: Database, number: int) -> None:
    async with UnitOfWork(database) as work:
        await work.clients.upsert([_CLIENT | {"name": str(number)}])
        await work.commit()


async def test_a_process_that_has_seen_the_new_primary_writes_to_no_old_one(two_primaries: tuple[Node, Node]) -> None:
    old, new = two_primaries
    failovers: list[str] = []
    mark = FailoverMark(lambda: failovers.append("seen"))
    by_name = [
        Database(node.url(DATABASE), guard=WriteGuard(Stage.COMPLETE, mark=mark), mark=mark) for node in (old, new)
    ]
    await _write(by_name[0], 1)  # it knows of no other yet
    await _write(by_name[1], 2)
    with pytest.raises(StaleServerError, match="on timeline 1, and a failover has begun timeline 2; nothing was"):
        await _write(by_name[0], 3)
    for database in by_name:
        await database.close()
    assert [tokens(node) for node in (old, new)] == [{1: 1}, {1: 2}]
    assert (mark.timeline, failovers) == (2, ["seen"])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_new_process_asks_all_hosts_and_takes_the_highest_timeline(
    two_primaries: tuple[Node, Node], order: tuple[int, int]
) -> None:
    first, second = (two_primaries[place].port for place in order)
    url = f"postgresql://postgres@127.0.0.1:{first},127.0.0.1:{second}/{DATABASE}"
    database = Database(url)
    async with database.statements() as connection:
        port = await fetch_value(connection, "SELECT current_setting('port')::int")
    await database.close()
    assert port == two_primaries[1].port


async def test_a_login_that_every_host_refuses_is_told(
    two_primaries: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.stores.postgres.session._CONNECTING", 3)
    hosts = ",".join(f"127.0.0.1:{node.port}" for node in two_primaries)
    with pytest.raises(MigrationError, match=r"none of the hosts in DATABASE_URL takes writes \(.*role .* does not"):
        async with open_target(f"postgresql://stranger@{hosts}/{DATABASE}", step="test"):
            pass


async def test_a_process_that_has_seen_the_new_primary_reads_from_no_old_one(two_primaries: tuple[Node, Node]) -> None:
    old, new = two_primaries
    with Relay(("127.0.0.1", old.port)) as balancer:
        mark = FailoverMark()
        database = Database(balancer.way(old.url(DATABASE)), guard=WriteGuard(Stage.COMPLETE, mark=mark), mark=mark)
        async with database.statements():
            await _write(database, 5)  # so that there are two connections to the old one
        balancer.server = ("127.0.0.1", new.port)
        async with database.statements(), database.statements():
            await _write(database, 6)
        names = select(literal_column("name", Text)).select_from(text("clients"))
        for _ in range(4):
            assert await database.fetch(names) == [("6",)]
        await database.close()


async def test_a_failover_that_lost_a_move_stops_the_writes_until_the_owner_moves_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = Rounds(monkeypatch, Membership, "_try_to_look")
    with bot_cluster(synchronous=False) as cluster:
        set_stage(cluster, Stage.COMPLETE)
        (standby,) = cluster.standbys
        async with open_data_layer(settings_for(cluster.url(DATABASE))) as data:
            standby.stop()
            cluster.standbys.clear()
            set_stage(cluster, Stage.COMPLETE)
            assert (await data.upsert_client(_CLIENT)).success
            await looks.go_by(1)
            cluster.primary.kill()
            standby.start()
            cluster.standbys.append(standby)
            cluster.promote(standby)

            refused = await data.upsert_client(_CLIENT)
            assert refused.error_code == "unavailable"
            assert (
                "a failover has lost move 2 of the cutover, to complete: the row of the stage says complete, of move 1"
                in str(refused.error)
            )
            assert cluster.primary.execute("SELECT count(*) FROM clients", DATABASE) == [(0,)]
            told = "SELECT 1 FROM botdata.processes WHERE problem LIKE '%a failover has lost move 2%'"
            async with asyncio.timeout(60):  # a look may fail while it finds the new primary
                while not cluster.primary.execute(told, DATABASE):
                    await looks.go_by(1)
                set_stage(cluster, Stage.COMPLETE)
                while not (await data.upsert_client(_CLIENT)).success:
                    await looks.go_by(1)


def test_a_row_that_was_asked_for_before_a_move_is_not_taken_for_a_lost_one() -> None:
    """The answer to a look may come after that to a write that has read a newer row."""
    mark = FailoverMark()
    first, second = (StageRow(stage, None, None, moves, None, 1) for moves, stage in enumerate((Stage.OFF, Stage.LIVE)))
    known = mark.see_move(first, None)
    mark.check(second)
    assert mark.see_move(first, known) == second
    with pytest.raises(MoveLostError):
        mark.see_move(first, mark.row)
