"""What a start finds missing is brought by a sync by row versions, without a person; kills lose nothing."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy import Column, Integer, Text

from app.errors import MigrationError
from tests.fixtures.streams import QUICK, StreamEnds
from tests.migration.engine import execute, query, row_texts, value
from tests.stream.projects import PLAIN, ROWS, SCHEMA, one


@pytest.fixture
def followed(stream_ends: StreamEnds) -> StreamEnds:
    """Two ends, of which a stream was once at the same state."""
    stream_ends.make(SCHEMA, ROWS)
    return stream_ends


@pytest.fixture
def little_log(followed: StreamEnds) -> Iterator[None]:
    followed.node.configure(max_slot_wal_keep_size="1MB")
    yield
    followed.node.configure(max_slot_wal_keep_size="")


_ROWS = "SELECT id, v FROM t ORDER BY id"


async def _repaired(ends: StreamEnds, why: str) -> None:
    execute(ends.source, "UPDATE t SET v = 'missed' WHERE id = 1; DELETE FROM t WHERE id = 2")
    ends.told.notices.clear()
    assert (await ends.until_now(PLAIN)).complete
    assert any(f"first a sync by rows' versions, since {why}" in notice for notice in ends.told.notices)
    assert query(ends.target, _ROWS) == query(ends.source, _ROWS)
    execute(ends.source, "UPDATE t SET v = 'streamed' WHERE id = 3")
    ends.told.notices.clear()
    assert (await ends.until_now(PLAIN)).complete
    assert not any("since" in notice for notice in ends.told.notices)
    assert query(ends.target, _ROWS) == query(ends.source, _ROWS)


async def test_a_slot_that_was_dropped(followed: StreamEnds) -> None:
    await followed.until_now(PLAIN)
    execute(followed.source, "SELECT pg_drop_replication_slot(%s)", followed.slots())
    await _repaired(followed, "the slot is gone")


async def test_a_slot_that_was_lost(followed: StreamEnds, little_log: None) -> None:
    await followed.until_now(PLAIN)
    for _ in range(6):  # more than the node's wal_keep_size
        execute(followed.source, "SELECT pg_logical_emit_message(true, 'tests', repeat('x', 17000000))")
        followed.node.execute("CHECKPOINT")
    assert (
        value(followed.source, "SELECT wal_status FROM pg_replication_slots WHERE database = current_database()")
        == "lost"
    )
    await _repaired(followed, "the slot is lost")


async def test_a_target_that_was_restored(followed: StreamEnds) -> None:
    await followed.until_now(PLAIN)
    execute(
        followed.target, "CREATE TABLE kept AS SELECT * FROM t; CREATE TABLE place AS SELECT lsn FROM botdata.streams"
    )
    execute(followed.source, "UPDATE t SET v = 'after the backup' WHERE id > 5")
    await followed.until_now(PLAIN)
    execute(
        followed.target,
        "DELETE FROM t; INSERT INTO t SELECT * FROM kept; UPDATE botdata.streams SET lsn = p.lsn FROM place p",
    )
    await _repaired(followed, "the slot is ahead of the target")


async def test_another_server_or_timeline_voids_what_was_known_of_rows(followed: StreamEnds) -> None:
    await followed.until_now(PLAIN)
    execute(followed.target, "UPDATE botdata.streams SET server = '1/00000007'")
    xid = value(followed.target, "SELECT xmin::text FROM t WHERE id = 7")
    execute(followed.target, "UPDATE t SET v = 'unlike' WHERE id = 7")
    execute(
        followed.target,
        "UPDATE botdata.row_versions v SET target_xid = t.xmin::text FROM t WHERE v.key = ARRAY['7'] AND t.id = 7",
    )
    assert value(followed.target, "SELECT xmin::text FROM t WHERE id = 7") != xid
    await _repaired(followed, "the source is another server")


async def test_a_start_whose_sync_was_not_ended(followed: StreamEnds) -> None:
    await followed.until_now(PLAIN)
    execute(followed.target, "UPDATE botdata.streams SET settled_lsn = NULL")
    await _repaired(followed, "not all tables were brought up to date")


async def _went_back(ends: StreamEnds, *statements: str) -> None:
    """Its changes were applied, and then it was not advanced: as after a crash of the source."""
    await ends.until_now(PLAIN)
    (slot,) = ends.slots()
    execute(ends.source, "SELECT pg_copy_logical_replication_slot(%s, 'botdata_before')", [slot])
    for statement in statements:
        execute(ends.source, statement)
        await ends.until_now(PLAIN)
    execute(ends.source, "SELECT pg_drop_replication_slot(%s)", [slot])
    execute(ends.source, "SELECT pg_copy_logical_replication_slot('botdata_before', %s)", [slot])
    execute(ends.source, "SELECT pg_drop_replication_slot('botdata_before')")
    ends.told.notices.clear()


async def test_a_slot_that_went_back_gives_nothing_twice(followed: StreamEnds) -> None:
    ends = followed
    await _went_back(ends, "INSERT INTO t VALUES (20, 'once')", "DELETE FROM t WHERE id = 20")
    changes = value(ends.target, "SELECT changes FROM botdata.streams")
    report = await ends.until_now(PLAIN)
    assert report.tables["t"].changed == 0
    assert not any("since" in notice for notice in ends.told.notices)
    execute(ends.source, "INSERT INTO t VALUES (21, 'next')")
    await ends.until_now(PLAIN)
    assert value(ends.target, "SELECT changes FROM botdata.streams") == changes + 1
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")


async def test_a_source_that_was_restored_from_a_copy_of_its_files(followed: StreamEnds) -> None:
    """Its log has the same places, and other transactions there."""
    await _went_back(followed, "INSERT INTO t VALUES (20, 'once')")
    execute(followed.target, "UPDATE botdata.streams SET committed_at = committed_at - interval '1 s'")
    await _repaired(followed, "the source's log is not that of before")


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE t ADD w text DEFAULT 'w'; UPDATE t SET w = 'x' WHERE id = 1",
        "ALTER TABLE t ALTER v TYPE text USING upper(v)",  # sends nothing
    ],
)
async def test_a_changed_table_stops_it_with_all_before_applied(change: str, followed: StreamEnds) -> None:
    ends = followed
    stream = ends.stream(PLAIN)
    await stream.begun()
    execute(ends.source, "UPDATE t SET v = 'before' WHERE id = 4")
    execute(ends.source, change)
    with pytest.raises(MigrationError, match="the source's tables t were changed; the stream stops at") as raised:
        await asyncio.wait_for(stream.task, 30)
    assert "preflight" in str(raised.value.next_step)
    assert value(ends.target, "SELECT v FROM t WHERE id = 4") == "before"
    await _repaired(ends, "t changed at the source")


async def test_a_column_that_the_target_gets_later_is_brought_of_all_rows(followed: StreamEnds) -> None:
    execute(followed.source, "ALTER TABLE t ADD w text DEFAULT 'w'")
    await followed.until_now(PLAIN)
    execute(followed.target, "ALTER TABLE t ADD w text")
    wider = one(Column("id", Integer, primary_key=True), Column("v", Text), Column("w", Text))
    for _ in range(2):
        followed.told.notices.clear()
        assert (await followed.until_now(wider)).complete
        assert row_texts(followed.target, "t") == row_texts(followed.source, "t")
    assert not any("since" in notice for notice in followed.told.notices)


async def test_all_before_a_change_of_the_table_is_applied_in_many_peeks(followed: StreamEnds) -> None:
    stream = followed.stream(PLAIN, replace(QUICK, most_messages=1, check_interval=0.0))
    await stream.begun()
    with psycopg.connect(followed.target) as other:
        other.execute("LOCK TABLE t")
        for number in range(10):
            execute(followed.source, f"UPDATE t SET v = 'before {number}' WHERE id = 4")
        execute(followed.source, "ALTER TABLE t ALTER v TYPE text USING upper(v)")
    with pytest.raises(MigrationError, match="the source's tables t were changed"):
        await asyncio.wait_for(stream.task, 30)
    assert value(followed.target, "SELECT v FROM t WHERE id = 4") == "before 9"


async def test_what_changes_no_row_stops_nothing(followed: StreamEnds) -> None:
    await followed.until_now(PLAIN)
    followed.told.notices.clear()
    for statements in (
        "ALTER TABLE t ALTER v SET DEFAULT 'x'; CREATE INDEX ON t (v)",
        "TRUNCATE t; INSERT INTO t VALUES (1)",
        "ALTER TABLE t ALTER v SET DEFAULT 'y'; INSERT INTO t VALUES (2)",
    ):
        execute(followed.source, statements)
        assert (await followed.until_now(PLAIN)).complete
    assert not any("since" in notice for notice in followed.told.notices)
    assert row_texts(followed.target, "t") == ["(1,x)", "(2,y)"]


async def write_until(url: str, seed: int, done: asyncio.Event) -> None:
    """Ten changes to a transaction: inserts, updates, deletions, changed keys; until done."""
    chance = random.Random(seed)
    while not done.is_set():
        statements = []
        for _ in range(10):
            key, other = chance.randrange(200), chance.randrange(200)
            statements.append(
                chance.choice(
                    (
                        f"INSERT INTO t VALUES ({key}, '{other}') ON CONFLICT (id) DO UPDATE SET v = 'again {other}'",
                        f"UPDATE t SET v = v || '{other}' WHERE id = {key}",
                        f"DELETE FROM t WHERE id = {key}",
                        f"UPDATE t SET id = {other} WHERE id = {key} AND NOT EXISTS (SELECT FROM t WHERE id = {other})",
                    )
                )
            )
        await asyncio.to_thread(execute, url, ";".join(statements))


_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'botdata %' "
    "AND datname = current_database()"
)


@pytest.mark.parametrize("end", ["source", "target"])
async def test_lost_connections_lose_no_change(end: str, followed: StreamEnds) -> None:
    ends = followed
    stream = ends.stream(PLAIN)
    await stream.begun()
    done = asyncio.Event()
    writing = asyncio.ensure_future(write_until(ends.source, 7, done))
    for _ in range(3):
        await asyncio.sleep(0.3)
        execute(ends.source if end == "source" else ends.target, _SESSIONS)
    done.set()
    await writing
    await stream.caught_up()
    await stream.end()
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")


@pytest.mark.parametrize(
    "meddling",
    [
        pytest.param("DROP PUBLICATION {0}; {1}", marks=pytest.mark.soak),
        pytest.param(
            "DROP PUBLICATION {0}; {1}; CREATE PUBLICATION {0} FOR TABLE ONLY t WITH (publish_via_partition_root)",
            marks=pytest.mark.soak,
        ),
        "ALTER PUBLICATION {0} DROP TABLE ONLY t; {1}; ALTER PUBLICATION {0} ADD TABLE ONLY t",
    ],
)
async def test_a_publication_that_somebody_altered(meddling: str, followed: StreamEnds) -> None:
    """What was written while the table was not published is brought all the same."""
    await followed.until_now(PLAIN)
    (name,) = followed.slots()
    execute(followed.source, meddling.format(name, "UPDATE t SET v = 'unpublished' WHERE id = 8"))
    await _repaired(followed, "the publication was altered")


async def test_a_publication_that_is_altered_meanwhile(followed: StreamEnds) -> None:
    stream = followed.stream(PLAIN)
    await stream.begun()
    (name,) = followed.slots()
    execute(followed.source, f"DROP PUBLICATION {name}; UPDATE t SET v = 'unpublished' WHERE id = 8")
    assert await stream.until(lambda: value(followed.target, "SELECT v FROM t WHERE id = 8") == "unpublished")
    await stream.caught_up()
    await stream.end()
    assert row_texts(followed.target, "t") == row_texts(followed.source, "t")


async def test_a_slot_that_is_dropped_meanwhile(followed: StreamEnds) -> None:
    stream = followed.stream(PLAIN)
    await stream.begun()
    execute(followed.source, "SELECT pg_drop_replication_slot(%s)", followed.slots())
    execute(followed.source, "UPDATE t SET v = 'without a slot' WHERE id = 8")
    assert await stream.until(lambda: value(followed.target, "SELECT v FROM t WHERE id = 8") == "without a slot")
    await stream.caught_up()
    await stream.end()
    assert row_texts(followed.target, "t") == row_texts(followed.source, "t")
