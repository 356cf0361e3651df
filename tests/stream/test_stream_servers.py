"""Servers that are killed, restored and failed over while a stream is at work."""

import asyncio
import random
import subprocess
from collections.abc import Callable, Iterator

import pytest

from app.migration.stream.options import FollowOptions
from tests.fixtures.streams import StreamEnds
from tests.migration.engine import execute, row_texts
from tests.pooler.bouncer import run_bouncer
from tests.stream.projects import PLAIN, ROWS, SCHEMA
from tests.stream.test_stream_gaps import write_until
from tests.support.streaming import Cluster, Node, run_cluster

pytestmark = pytest.mark.soak
_HOW = FollowOptions(interval=0.05, accept_unbounded=True, check_interval=1.0, idle_interval=0.2)


@pytest.fixture
def source() -> Iterator[Cluster]:
    """A source with a standby."""
    with run_cluster(standbys=1) as cluster:
        for node in cluster.nodes:
            node.execute("ALTER SYSTEM SET wal_level = logical")
            node.stop()
            node.start()
        cluster.wait_for_standbys()
        yield cluster


@pytest.fixture
def target() -> Iterator[Cluster]:
    """A target with a standby."""
    with run_cluster(standbys=1) as cluster:
        yield cluster


@pytest.mark.parametrize("seed", range(3))
async def test_killed_servers_lose_no_change(seed: int, source: Cluster, target: Cluster) -> None:
    chance = random.Random(seed)
    ends = StreamEnds(source.primary, source.primary.url(), target.primary.url())
    ends.make(SCHEMA, ROWS)
    stream = ends.stream(PLAIN, _HOW, most_deleted=10_000)
    await stream.begun()
    for _ in range(6):
        done = asyncio.Event()
        writing = asyncio.ensure_future(write_until(ends.source, chance.randrange(1000), done))
        await asyncio.sleep(chance.random())
        done.set()
        await writing
        node = chance.choice([source.primary, target.primary])
        await asyncio.to_thread(node.kill)
        await asyncio.to_thread(node.start)
    await stream.caught_up()
    await stream.end()
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")


async def test_a_standby_takes_the_sources_place(source: Cluster, target: Cluster) -> None:
    """It has no slot, and its log goes another way: what the lost primary had not sent to it is gone at both ends."""
    ends = StreamEnds(source.primary, source.primary.url(), target.primary.url())
    ends.make(SCHEMA, ROWS)
    await ends.until_now(PLAIN)
    source.wait_for_standbys()
    (standby,) = source.standbys
    standby.stop()
    execute(ends.source, "UPDATE t SET v = 'lost' WHERE id = 1")
    await ends.until_now(PLAIN)
    source.primary.kill()
    standby.start()
    old = source.promote(standby)
    assert old is not source.primary
    ends.source = source.primary.url()
    execute(ends.source, "UPDATE t SET v = 'new' WHERE id = 2")
    assert (await ends.until_now(PLAIN, overwrite=True)).complete
    assert any("another timeline" in notice for notice in ends.told.notices)
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")
    execute(ends.source, "DELETE FROM t WHERE id = 3")
    assert (await ends.until_now(PLAIN, overwrite=True)).complete
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")


async def test_a_standby_takes_the_targets_place(source: Cluster, target: Cluster) -> None:
    """It lacks what was applied last, and the slot was advanced past that."""
    ends = StreamEnds(source.primary, source.primary.url(), target.primary.url())
    ends.make(SCHEMA, ROWS)
    await ends.until_now(PLAIN)
    target.wait_for_standbys()
    (standby,) = target.standbys
    standby.stop()
    execute(ends.source, "UPDATE t SET v = 'applied and lost' WHERE id = 1; DELETE FROM t WHERE id = 2")
    await ends.until_now(PLAIN)
    target.primary.kill()
    standby.start()
    target.promote(standby)
    ends.target = target.primary.url()
    assert (await ends.until_now(PLAIN)).complete
    assert any("the slot is ahead" in notice for notice in ends.told.notices)
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")


def _backed_up(node: Node) -> Callable[[], None]:
    """Copy a server's files while it is down; gives what puts them back."""
    copy = node.data.with_name("backup")
    node.stop()
    subprocess.run(["cp", "-a", node.data, copy], check=True)
    node.start()

    def restore() -> None:
        node.stop()
        subprocess.run(["rm", "-rf", node.data], check=True)
        copy.rename(node.data)
        node.start()

    return restore


async def test_a_source_that_is_restored_from_a_backup(source: Cluster, target: Cluster) -> None:
    """Its slot is there, from before, and its log goes another way."""
    ends = StreamEnds(source.primary, source.primary.url(), target.primary.url())
    ends.make(SCHEMA, ROWS)
    await ends.until_now(PLAIN)
    restore = _backed_up(source.primary)
    execute(ends.source, "UPDATE t SET v = 'after the backup' WHERE id = 1; DELETE FROM t WHERE id = 2")
    await ends.until_now(PLAIN)
    restore()
    for change in ("UPDATE t SET v = 'other' WHERE id = 3", "DELETE FROM t WHERE id = 4", "UPDATE t SET v = 'more'"):
        execute(ends.source, change)
    ends.told.notices.clear()
    assert (await ends.until_now(PLAIN, overwrite=True)).complete
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")
    execute(ends.source, "DELETE FROM t WHERE id = 5")
    assert (await ends.until_now(PLAIN)).complete
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")


async def test_a_source_that_is_restored_behind_a_transaction_pooler(source: Cluster, target: Cluster) -> None:
    """A pooler that is paused meanwhile keeps the stream's connections, and sends its statements to another server."""
    direct = source.primary.url()
    with run_bouncer(direct, size=10) as bouncer:
        ends = StreamEnds(source.primary, bouncer.url(direct), target.primary.url())
        ends.make(SCHEMA, ROWS)
        await ends.until_now(PLAIN)  # the backup has the slot
        restore = await asyncio.to_thread(_backed_up, source.primary)
        stream = ends.stream(PLAIN, _HOW, most_deleted=10_000, overwrite=True)
        await stream.begun()
        execute(direct, "UPDATE t SET v = 'after the backup' WHERE id = 1; DELETE FROM t WHERE id = 2")
        await stream.caught_up()
        await asyncio.to_thread(bouncer.console, "PAUSE")
        await asyncio.to_thread(restore)
        for change in ("UPDATE t SET v = 'other' WHERE id = 3", "DELETE FROM t WHERE id = 4"):
            execute(direct, change)
        await asyncio.to_thread(bouncer.console, "RESUME")
        await stream.rounds(1)
        await stream.caught_up()
        await stream.end()
        assert row_texts(ends.target, "t") == row_texts(direct, "t")


async def test_a_target_that_is_restored_from_a_backup(source: Cluster, target: Cluster) -> None:
    """The slot has passed what it holds."""
    ends = StreamEnds(source.primary, source.primary.url(), target.primary.url())
    ends.make(SCHEMA, ROWS)
    await ends.until_now(PLAIN)
    restore = _backed_up(target.primary)
    execute(ends.source, "UPDATE t SET v = 'after the backup' WHERE id = 1; DELETE FROM t WHERE id = 2")
    await ends.until_now(PLAIN)
    restore()
    execute(ends.source, "UPDATE t SET v = 'later' WHERE id = 3")
    ends.told.notices.clear()
    assert (await ends.until_now(PLAIN)).complete
    assert any("the slot is ahead" in notice for notice in ends.told.notices)
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")
