"""A commit that waits for a synchronous standby which is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import psycopg
import pytest

from app.errors import OutcomeUnknownError
from app.migration.target.target_session import open_target
from app.repositories import UnitOfWork
from app.state.wal import WalPlace
from app.stores.postgres.commit import transaction
from app.stores.postgres.database import Database
from tests.failover.clusters import DATABASE, bot_cluster
from tests.support.streaming import Cluster

_CLIENT = {"yclients_id": 1, "company_id": 1, "phone": "79684484401"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with bot_cluster() as cluster:
        yield cluster


@pytest.fixture
def without_standby(cluster: Cluster) -> Iterator[Cluster]:
    """The standby hangs, and the primary waits for it."""
    (standby,) = cluster.standbys
    standby.hang()
    yield cluster
    standby.wake()
    cluster.wait_for_standbys()


async def _write(database: Database) -> None:
    async with UnitOfWork(database) as work:
        await work.clients.upsert([_CLIENT])
        await work.commit()


async def test_a_commit_tells_its_place(cluster: Cluster) -> None:
    database = Database(cluster.primary.url(DATABASE))
    places: list[WalPlace | None] = []
    database.on_commit = places.append
    await _write(database)
    await database.close()
    ((lsn,),) = cluster.primary.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
    (place,) = places
    assert place is not None
    assert place.timeline == 1
    assert lsn - 10_000 < place.lsn <= lsn
    assert cluster.primary.execute("SELECT count(*) FROM clients", DATABASE) == [(1,)]


@pytest.mark.parametrize("locates", [False, True])
@pytest.mark.parametrize("ending", ["pg_cancel_backend", "pg_terminate_backend"])
async def test_a_commit_whose_wait_is_ended_is_unknown(without_standby: Cluster, ending: str, locates: bool) -> None:
    hides_warnings = "?options=-c%20client_min_messages%3Derror"  # as ALTER ROLE ... SET does
    database = Database(without_standby.primary.url(DATABASE) + hides_warnings)
    if locates:
        database.on_commit = lambda _: None
    writing = asyncio.create_task(_write(database))
    await _until(lambda: _waiting(without_standby))
    without_standby.primary.execute(
        f"SELECT {ending}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = '{DATABASE}'"
    )
    with pytest.raises(OutcomeUnknownError):
        await writing
    await database.close()


async def test_a_command_gives_up_a_commit_and_leaves_it_to_the_server(without_standby: Cluster) -> None:
    (standby,) = without_standby.standbys
    url = without_standby.primary.url(DATABASE)
    async with open_target(url, step="test") as connection:
        with pytest.raises(OutcomeUnknownError, match="did not end within"):
            async with transaction(connection, seconds=0.3):
                await connection.execute("CREATE TABLE made ()")
    seen = "SELECT to_regclass('made')::text"
    assert without_standby.primary.execute(seen, DATABASE) == [(None,)]
    standby.wake()
    await _until(lambda: without_standby.primary.execute(seen, DATABASE) != [(None,)])


async def test_a_command_s_commit_that_is_cancelled_is_unknown(without_standby: Cluster) -> None:
    async def change() -> None:
        async with (
            open_target(without_standby.primary.url(DATABASE), step="test") as connection,
            transaction(connection, seconds=30),
        ):
            await connection.execute("CREATE TABLE made_too ()")

    changing = asyncio.create_task(change())
    await _until(lambda: _waiting(without_standby))
    without_standby.primary.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    with pytest.raises(OutcomeUnknownError, match="ended with a warning"):
        await changing


async def test_what_a_trigger_says_before_the_commit_is_no_warning_of_it(cluster: Cluster) -> None:
    async with open_target(cluster.primary.url(DATABASE), step="test") as connection:
        async with transaction(connection, seconds=5):
            await connection.execute("DO $$ BEGIN RAISE WARNING 'of the body'; END $$")
        with pytest.raises(psycopg.errors.DivisionByZero):
            async with transaction(connection, seconds=5):
                await connection.execute("SELECT 1 / 0")
        assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


async def _until(is_so: Callable[[], bool]) -> None:
    for _ in range(3000):
        if is_so():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it does not come to that")


def _waiting(cluster: Cluster) -> bool:
    waits = f"SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = '{DATABASE}'"
    return bool(cluster.primary.execute(waits))
