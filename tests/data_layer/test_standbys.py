"""Reads from standbys: never older than what this process wrote, nor than what a standby has shown it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from time import monotonic
from typing import Any, cast

import psycopg
import pytest
from sqlalchemy import literal_column, select

from app.cutover.staged_backend import StagedBackend
from app.cutover.stages import Store
from app.data_layer import DataLayer, open_data_layer
from app.errors import ConflictError, OutcomeUnknownError, SchemaMismatchError, StoreTimeoutError
from app.repositories.backend import RepositoryBackend
from app.settings import Settings
from app.stores.outgoing_write import OutgoingWrite
from app.stores.standbys.read_router import ReadRouter
from tests.fixtures.streaming import DATABASE, prepare, read_url
from tests.pooler.bouncer import run_bouncer
from tests.support.rounds import Rounds
from tests.support.streaming import Cluster, Node, run_cluster

_COMPANY = {"company_id": 7, "title": "0"}


def _settings(cluster: Cluster, *hosts: Node, **given: Any) -> Settings:
    return Settings(
        _env_file=None,
        **{
            "use_repository_pattern": True,
            "database_url": cluster.primary.url(DATABASE),
            "database_read_url": read_url(cluster, *hosts),
            **given,
        },
    )


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No standby is taken for one that hangs because the machine has much else to do."""
    monkeypatch.setattr("app.stores.standbys.standby._LOOK_TIMEOUT", 30.0)


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
    return [one.standby for one in router.report().standbys if one.state == "answers"]


def share(router: ReadRouter) -> tuple[int, int]:
    """How many reads standbys have answered, and the primary."""
    return router.report()[:2]


async def until(holds: Any, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - the state of servers
            await asyncio.sleep(0.02)


async def _until_one_answers(data: DataLayer, router: ReadRouter) -> None:
    """Standbys that were too late a moment ago are left alone for another moment."""
    before = share(router)[0]
    async with asyncio.timeout(60):
        while share(router)[0] == before:
            await _title(data)
            await asyncio.sleep(0.01)


async def _write(data: DataLayer, title: str) -> None:
    answer = await data.upsert_company({**_COMPANY, "title": title})
    assert answer.success, answer.error


async def _title(data: DataLayer) -> str:
    answer = await data.get_company(7)
    assert answer.success, answer.error
    return str(answer.data.title) if answer.data else ""


@pytest.mark.usefixtures("unhurried")
async def test_what_was_written_is_read_and_a_standby_answers(standbys: Cluster) -> None:
    async with opened(_settings(standbys)) as (data, router):
        for number in range(20):
            await _write(data, str(number))
            assert await _title(data) == str(number)
        standbys.wait_for_standbys()
        await _until_one_answers(data, router)
        before = share(router)
        for _ in range(20):
            assert await _title(data) == "19"
        assert share(router)[0] - before[0] == 20
        assert all(one._reads._pool._idle for one in router._standbys)  # in turn


@pytest.mark.parametrize("reads", [200, pytest.param(10_000, marks=pytest.mark.soak)])
async def test_no_read_is_older_than_own_writes_nor_goes_back_in_time(standbys: Cluster, reads: int) -> None:
    """Two standbys replay at different delays, and another client's writes go on all the time."""
    first, second = standbys.standbys
    first.configure(recovery_min_apply_delay="500ms")
    second.configure(recovery_min_apply_delay="430ms")
    async with opened(_settings(standbys)) as (data, router), ticking(standbys) as ticks:
        await _write(data, "0")
        own = tick = 0
        for number in range(reads):
            if number % 50 == 0:
                await _write(data, str(number))
                own = number
            elif number % 50 == 25:
                await asyncio.sleep(0.6)  # then standbys may answer again
            assert int(await _title(data)) == own, number
            for _ in range(2):  # with the read above an odd number, so that the standbys take turns at it
                before = share(router)[0]
                seen = await _tick(data)
                if share(router)[0] > before:
                    assert seen >= tick, number
                    tick = seen
        assert ticks() > tick > 0
        by_standbys, by_primary = share(router)
    assert by_standbys > 0.25 * (by_standbys + by_primary)  # none in the first half second after a write


@pytest.mark.usefixtures("unhurried")
async def test_a_second_after_the_last_write_standbys_answer(standbys: Cluster) -> None:
    for node in standbys.standbys:
        node.configure(recovery_min_apply_delay="50s")
    async with opened(_settings(standbys)) as (data, router), ticking(standbys):
        await _write(data, "1")
        before = share(router)
        assert await _title(data) == "1"
        assert share(router) == (before[0], before[1] + 1)
        for node in standbys.standbys:
            await asyncio.to_thread(node.configure, recovery_min_apply_delay="500ms")
        await asyncio.sleep(1)
        by_standbys = share(router)[0]
        for _ in range(100):
            assert await _title(data) == "1"
        assert share(router)[0] - by_standbys >= 80


@pytest.mark.usefixtures("unhurried")
async def test_a_slow_statement_is_waited_for_and_one_that_fails_is_the_primarys(standbys: Cluster) -> None:
    async with opened(_settings(standbys, query_timeout=5.0)) as (data, router):
        await _until_one_answers(data, router)
        before = share(router)
        assert await router.fetch(select(literal_column("1 FROM pg_sleep(1.2)"))) == [(1,)]
        assert share(router) == (before[0] + 1, before[1])
        began = monotonic()
        with pytest.raises(StoreTimeoutError):
            await router.fetch(select(literal_column("1 FROM pg_sleep(20)")))
        assert monotonic() - began < 15.0
        assert share(router) == (before[0] + 1, before[1])
        with pytest.raises(SchemaMismatchError):
            await router.fetch(select(literal_column("no_such_column")))
        assert share(router) == (before[0] + 1, before[1] + 1)
        assert len(used(router)) == 2
        assert await router.fetch(select(literal_column("2"))) == [(2,)]
        assert share(router) == (before[0] + 2, before[1] + 1)


@pytest.mark.usefixtures("unhurried")
async def test_a_write_of_unknown_outcome_sends_reads_to_the_primary(standbys: Cluster) -> None:
    async with opened(_settings(standbys)) as (_, router):
        write = OutgoingWrite()
        write.leave()
        with pytest.raises(OutcomeUnknownError), router.writing(write):
            raise OutcomeUnknownError("lost")
        one = select(literal_column("1"))
        assert await router.fetch(one) == [(1,)]
        assert share(router) == (0, 1)
        await until(lambda: router._mark.current is not None)
        standbys.wait_for_standbys()
        await asyncio.sleep(0.1)  # a standby that was too old is asked again after that
        assert await router.fetch(one) == [(1,)]
        assert share(router) == (1, 1)
        with pytest.raises(ConflictError), router.writing(write):
            raise ConflictError("rolled back")
        assert router._mark.current is not None


@pytest.mark.usefixtures("unhurried")
async def test_through_a_transaction_pooler_before_each_standby(standbys: Cluster) -> None:
    with ExitStack() as stack:
        bouncers = [stack.enter_context(run_bouncer(node.url(), size=1)) for node in standbys.standbys]
        hosts = ",".join(f"127.0.0.1:{bouncer.port}" for bouncer in bouncers)
        async with opened(_settings(standbys, database_read_url=f"postgresql://postgres@{hosts}/{DATABASE}")) as (
            data,
            router,
        ):
            for number in range(5):
                await _write(data, str(number))
                assert await _title(data) == str(number)
            standbys.wait_for_standbys()
            await _until_one_answers(data, router)
            before = share(router)
            titles = await asyncio.gather(*(_title(data) for _ in range(30)))  # more than the poolers have servers
            assert set(titles) == {"4"}
            assert share(router)[0] - before[0] >= 15  # a busy machine may be too slow for some of them


@asynccontextmanager
async def ticking(cluster: Cluster) -> AsyncIterator[Any]:
    """Another client counts up in a row, a hundred times a second."""
    count = 0

    async def tick() -> None:
        nonlocal count
        async with await psycopg.AsyncConnection.connect(cluster.primary.url(DATABASE), autocommit=True) as connection:
            while True:
                await connection.execute(
                    "INSERT INTO companies (company_id, title) VALUES (8, %s::text) "
                    "ON CONFLICT (company_id) DO UPDATE SET title = excluded.title",
                    [count],
                )
                count += 1
                await asyncio.sleep(0.01)

    task = asyncio.create_task(tick())
    try:
        yield lambda: count
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _tick(data: DataLayer) -> int:
    answer = await data.get_company(8)
    assert answer.success, answer.error
    return int(answer.data.title) if answer.data else -1


async def test_a_standby_that_hangs_costs_a_read_a_moment_and_answers_again_later(
    standbys: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, other = standbys.standbys
    async with opened(_settings(standbys)) as (data, router):
        await _write(data, "1")
        (asked,) = (one for one in router._standbys if one.name == f"127.0.0.1:{hanging.port}")
        reads = Rounds(monkeypatch, asked, "read")
        hanging.hang()
        began = monotonic()
        for _ in range(40):
            assert await _title(data) == "1"
        assert reads.begun <= 2
        assert monotonic() - began < 15.0  # a call may take 30 s
        await until(lambda: used(router) == [f"127.0.0.1:{other.port}"])
        hanging.wake()
        await until(lambda: len(used(router)) == 2)
        assert await _title(data) == "1"


async def test_reads_wait_for_no_standby_where_all_are_away(standbys: Cluster) -> None:
    for node in standbys.standbys:
        node.hang()
    began = monotonic()
    async with open_data_layer(_settings(standbys)) as data:
        await _write(data, "1")
        assert await _title(data) == "1"
        assert monotonic() - began < 15.0  # a call may take 30 s
        assert share(router_of(data))[0] == 0


async def test_the_primary_is_no_standby_and_answers_all_the_same(
    standbys: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    read_url = standbys.primary.url(DATABASE).replace("postgres@", "postgres:planted-secret@")
    async with open_data_layer(_settings(standbys, database_read_url=read_url)) as data:
        router = router_of(data)
        await until(lambda: [one.state for one in router.report().standbys] == ["no standby"])
        await _write(data, "1")
        assert await _title(data) == "1"
        assert share(router) == (0, 1)
        assert "planted-secret" not in str(router.report())
    assert f"127.0.0.1:{standbys.primary.port}: no standby" in caplog.text
    assert "planted-secret" not in caplog.text


async def test_a_standby_of_another_primary_answers_nothing(standbys: Cluster) -> None:
    standbys.primary.execute("INSERT INTO companies (company_id, title) VALUES (7, 'another bot''s')", DATABASE)
    with run_cluster(0) as own:
        prepare(own)
        for _ in range(5):
            standbys.primary.execute(
                "SELECT pg_logical_emit_message(true, '', ''), pg_switch_wal()"
            )  # its log is ahead
        async with open_data_layer(_settings(own, database_read_url=read_url(standbys))) as data:
            router = router_of(data)
            await until(lambda: {one.state for one in router.report().standbys} == {"other server"})
            await _write(data, "1")
            for _ in range(4):
                assert await _title(data) == "1"
            assert share(router) == (0, 4)


async def test_a_failover_begins_the_mark_anew_and_what_was_lost_is_not_read() -> None:
    """One standby is promoted, one has what is lost by that, and one follows the new primary."""
    with run_cluster(standbys=3) as cluster:
        prepare(cluster)
        promoted, diverged, following = cluster.standbys
        settings = _settings(
            cluster, promoted, diverged, following, database_url=cluster.url(DATABASE, [cluster.primary, promoted])
        )
        async with opened(settings, answering=3) as (data, router):
            await _write(data, "kept")
            cluster.wait_for_standbys()
            for node in (promoted, following):
                node.configure(primary_conninfo="host=127.0.0.1 port=1")
                node.wait_until("SELECT count(*) = 0 FROM pg_stat_wal_receiver")
            cluster.primary.execute("UPDATE companies SET title = 'lost'", DATABASE)
            ((lsn,),) = cluster.primary.execute(
                "SELECT pg_logical_emit_message(false, 'x', repeat('x', 5000000))::text"
            )
            diverged.wait_for(lsn)
            cluster.primary.kill()
            cluster.promote(promoted)
            following.configure(primary_conninfo=f"host=127.0.0.1 port={promoted.port} user=postgres")
            await until(lambda: used(router) == [f"127.0.0.1:{following.port}"])
            assert {one.state for one in router.report().standbys} == {"no standby", "other timeline", "answers"}
            before = share(router)[0]
            for _ in range(30):
                assert await _title(data) == "kept"
            assert share(router)[0] > before
            await _write(data, "new")
            for _ in range(30):
                assert await _title(data) == "new"
