"""A following sync by the change stream: what it brings, and that nothing is lost on the way."""

import asyncio

import psycopg
import pytest
from sqlalchemy import Column, DateTime, Double, Integer, Interval, LargeBinary, Text, UniqueConstraint

from app.errors import MigrationError
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.stream.options import FollowOptions
from app.migration.stream.source.messages import Insert
from app.migration.stream.source.slot import StreamSlot
from tests.fixtures.streams import StreamEnds
from tests.migration.engine import copy_from, execute, query, row_texts, source_of, value, verify_from
from tests.stream.projects import PLAIN, ROWS, SCHEMA, named, one

_LARGE = "SELECT string_agg(md5(n::text || {0}), '') FROM generate_series(1, 300) n"  # out of line, not compressible


async def test_changes_come_over(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    ends.make(SCHEMA, ROWS)
    assert (await copy_from(ends.served, ends.target, PLAIN)).complete
    stream = ends.stream(PLAIN)
    await stream.begun()
    execute(ends.source, "INSERT INTO t VALUES (10, 'ten'), (11, NULL); UPDATE t SET v = 'new' WHERE id = 1")
    execute(ends.source, "DELETE FROM t WHERE id = 2; UPDATE t SET id = 30 WHERE id = 3")
    await stream.caught_up()
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")
    execute(ends.source, "TRUNCATE t; INSERT INTO t VALUES (1, 'one')")
    await stream.caught_up()
    report = await stream.end()
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t") == ["(1,one)"]
    assert (report.complete, report.by, report.tables["t"].refused) == (True, "stream", ())


async def test_one_goes_on_where_the_last_one_ended(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    ends.make(SCHEMA, ROWS)
    assert (await ends.until_now(PLAIN)).complete
    execute(ends.source, "UPDATE t SET v = 'new' WHERE id = 1; DELETE FROM t WHERE id = 2")
    execute(ends.target, "UPDATE t SET v = 'other' WHERE id = 9")  # a sync by row versions would find it
    report = await ends.until_now(PLAIN)
    done = report.tables["t"]
    assert (done.inserted, done.updated, done.deleted) == (0, 1, 1)
    assert value(ends.target, "SELECT v FROM t WHERE id = 9") == "other"
    assert any(notice.startswith("by the change stream, from ") for notice in ends.told.notices)


async def test_values_that_an_update_leaves_out_are_kept(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    chosen = one(Column("id", Integer, primary_key=True), Column("n", Integer), Column("v", Text))
    ends.make("CREATE TABLE t (id integer PRIMARY KEY, n integer, v text)")
    execute(ends.source, f"INSERT INTO t SELECT id, 0, ({_LARGE.format('id')}) FROM generate_series(1, 5) id")
    await ends.until_now(chosen)
    execute(ends.source, "UPDATE t SET n = 1; UPDATE t SET id = id + 10 WHERE id < 3; UPDATE t SET n = 2 WHERE id = 3")
    execute(ends.source, f"UPDATE t SET v = ({_LARGE.format(99)}) WHERE id = 4; UPDATE t SET n = 4 WHERE id = 4")
    execute(ends.source, "UPDATE t SET n = 5 WHERE id = 5")
    execute(ends.target, "DELETE FROM t WHERE id = 5")  # of a row that the target lacks, the source is asked
    report = await ends.until_now(chosen)
    assert report.complete
    assert len(row_texts(ends.target, "t")) == 5
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")


async def test_rows_that_exchange_unique_values(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    chosen = one(Column("id", Integer, primary_key=True), Column("u", Integer), UniqueConstraint("u"))
    schema = "CREATE TABLE t (id integer PRIMARY KEY, u integer UNIQUE)"
    ends.make(schema, "INSERT INTO t SELECT n, n FROM generate_series(1, 6) n")
    await ends.until_now(chosen)
    for statements in (
        "UPDATE t SET u = -1 WHERE id = 1; UPDATE t SET u = 1 WHERE id = 2; UPDATE t SET u = 2 WHERE id = 1",
        "UPDATE t SET u = -u; UPDATE t SET u = 7 + u",
        "DELETE FROM t WHERE id = 6; UPDATE t SET u = 1 WHERE id = 5 AND u <> 1",
        "UPDATE t SET u = id * 1000",
        # The row that takes the value comes first, since the one that gave it up was changed once more.
        "UPDATE t SET u = 1 WHERE id = 3; UPDATE t SET u = 3000 WHERE id = 2; UPDATE t SET u = 5 WHERE id = 3",
    ):
        execute(ends.source, statements)
        report = await ends.until_now(chosen)
        assert (report.complete, query(ends.target, "SELECT FROM botdata.quarantine")) == (True, [])
        assert row_texts(ends.target, "t") == row_texts(ends.source, "t")


async def test_refused_rows_are_set_aside_and_come_with_a_later_change(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    ends.make(SCHEMA, ROWS, f"{SCHEMA}; ALTER TABLE t ADD CHECK (v <> 'bad')")
    await ends.until_now(PLAIN)
    execute(ends.source, "UPDATE t SET v = 'bad' WHERE id < 4; UPDATE t SET v = 'good' WHERE id = 9")
    report = await ends.until_now(PLAIN)
    assert sorted(one.key for one in report.tables["t"].refused) == [("1",), ("2",), ("3",)]
    assert value(ends.target, "SELECT v FROM t WHERE id = 9") == "good"
    execute(ends.source, "UPDATE t SET v = 'mended' WHERE id = 1; DELETE FROM t WHERE id = 2")
    report = await ends.until_now(PLAIN)
    assert [one.key for one in report.tables["t"].refused] == [("3",)]
    assert row_texts(ends.target, "t")[:2] == ["(1,mended)", "(3,old)"]


async def test_a_hundred_refusals_in_a_batch_stop_it_and_nothing_of_the_batch_is_in(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    ends.make(SCHEMA, ROWS, f"{SCHEMA}; ALTER TABLE t ADD CHECK (v NOT LIKE 'planted%')")
    await ends.until_now(PLAIN)
    before = ends.applied()
    execute(ends.source, "INSERT INTO t VALUES (100, 'fine')")
    planted = "INSERT INTO t SELECT n, 'planted 79160000001' FROM generate_series({0}, {0} + {1}) n"
    execute(ends.source, planted.format(101, 100))
    with pytest.raises(
        MigrationError, match="more than 100 rows of one batch of changes, of t with SQLSTATE 23514"
    ) as e:
        await ends.until_now(PLAIN)
    assert query(ends.target, "SELECT FROM t WHERE id >= 100") == []
    assert (ends.applied(), query(ends.target, "SELECT FROM botdata.quarantine")) == (before, [])
    told = " ".join([*ends.told.notices, str(e.value), e.value.message, str(e.value.__cause__)])
    assert "planted" not in told
    assert "79160000001" not in told
    assert "7916***" not in told


async def test_a_table_without_identity_takes_its_updates_and_is_followed_by_xmin(stream_ends: StreamEnds) -> None:
    """Before, during and after, at the source itself: with every kind of replica identity."""
    ends = stream_ends
    names = ("a_default", "b_full", "c_index", "d_nothing", "e_no_key", "f_deferred", "g_other_index")
    schema = ";".join(f"CREATE TABLE {name} (id integer PRIMARY KEY, v text)" for name in names)
    source = (
        f"{schema}; ALTER TABLE b_full REPLICA IDENTITY FULL;"
        "ALTER TABLE c_index REPLICA IDENTITY USING INDEX c_index_pkey;"
        "ALTER TABLE d_nothing REPLICA IDENTITY NOTHING; ALTER TABLE e_no_key DROP CONSTRAINT e_no_key_pkey;"
        "ALTER TABLE f_deferred DROP CONSTRAINT f_deferred_pkey, ADD PRIMARY KEY (id) DEFERRABLE;"
        "ALTER TABLE g_other_index ALTER v SET NOT NULL, ADD UNIQUE (v),"
        "REPLICA IDENTITY USING INDEX g_other_index_v_key"
    )
    rows = ";".join(f"INSERT INTO {name} SELECT n, n::text FROM generate_series(1, 9) n" for name in names)
    ends.make(source, rows, schema)
    chosen = named(*names)

    def change(sign: str) -> None:
        for name in names:
            execute(
                ends.source, f"UPDATE {name} SET v = v || '{sign}' WHERE id > 2; DELETE FROM {name} WHERE v LIKE '4%'"
            )
            execute(ends.source, f"UPDATE {name} SET id = id + 100 WHERE v LIKE '5{sign}%'")

    change("a")
    stream = ends.stream(chosen, most_deleted=1000)
    await stream.begun()
    change("b")
    await stream.caught_up()
    published = query(ends.source, "SELECT tablename FROM pg_publication_tables ORDER BY 1")
    assert published == [("a_default",), ("b_full",), ("c_index",)]
    execute(ends.source, "ALTER TABLE a_default REPLICA IDENTITY NOTHING")
    for _ in range(100):
        if len(query(ends.source, "SELECT FROM pg_publication_tables")) == 2:
            break
        await stream.pause()
    change("c")
    await stream.caught_up()
    await stream.end()
    await ends.until_now(chosen, most_deleted=1000)
    for name in names:
        assert row_texts(ends.target, name) == row_texts(ends.source, name), name


async def test_partitions_and_moves_between_them(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    schema = "CREATE TABLE t (id integer PRIMARY KEY, v text) PARTITION BY RANGE (id);" + "".join(
        f"CREATE TABLE t_{n} PARTITION OF t FOR VALUES FROM ({n * 10}) TO ({n * 10 + 10});" for n in range(3)
    )
    ends.make(schema, "INSERT INTO t SELECT n, 'old' FROM generate_series(0, 29) n", SCHEMA)
    await ends.until_now(PLAIN)
    execute(
        ends.source,
        "UPDATE t SET id = 15 - 100 * 0 WHERE false; DELETE FROM t WHERE id = 15; UPDATE t SET id = 15 WHERE id = 3",
    )
    execute(ends.source, "UPDATE t SET v = 'new' WHERE id IN (1, 11, 21)")
    execute(ends.source, "CREATE TABLE t_3 PARTITION OF t FOR VALUES FROM (30) TO (40); INSERT INTO t VALUES (31, 'x')")
    report = await ends.until_now(PLAIN)
    assert report.complete
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")


_HOSTILE = (
    "datestyle = 'German, DMY'",
    "timezone = 'Asia/Kathmandu'",
    "intervalstyle = iso_8601",
    "extra_float_digits = -5",
    "bytea_output = escape",
    "client_encoding = LATIN1",
)


async def test_hostile_settings_change_no_text(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    chosen = one(
        Column("id", Integer, primary_key=True),
        Column("at", DateTime(timezone=True)),
        Column("f", Double),
        Column("i", Interval),
        Column("b", LargeBinary),
    )
    ends.make("CREATE TABLE t (id integer PRIMARY KEY, at timestamptz, f float8, i interval, b bytea)")
    for setting in _HOSTILE:
        database = ends.source.rpartition("/")[2]
        execute(ends.source, f"ALTER DATABASE {database} SET {setting}")
    await ends.until_now(chosen)
    execute(
        ends.source,
        "SET datestyle = 'ISO, YMD'; SET timezone = 'UTC'; INSERT INTO t VALUES (1, '2024-03-04 05:06:07.089+00', "
        "0.1::float8 + 0.2, '1 day 02:03:04.5', '\\x00ff'), (2, '2024-12-11 10:09:08+00', 1e300 / 3, '-1 mon', '')",
    )
    report = await ends.until_now(chosen)
    assert (report.complete, report.tables["t"].inserted) == (True, 2)
    verified = await verify_from(ends.served, ends.target, chosen)
    assert (verified.clean, verified.tables[0].equal) == (True, 2)


async def test_a_peek_sets_what_shapes_text_itself(stream_ends: StreamEnds) -> None:
    """In its own transaction: a session may be another's before and after."""
    execute(stream_ends.source, "CREATE TABLE t (at timestamptz); CREATE PUBLICATION botdata_tests FOR TABLE t")
    async with (
        source_of(stream_ends.served) as source,
        await psycopg.AsyncConnection.connect(stream_ends.source) as plain,
    ):
        assert isinstance(source, PostgresSource)
        slot = StreamSlot(source, plain, "botdata_tests")
        await slot.create()
        execute(stream_ends.source, "INSERT INTO t VALUES ('2024-03-04 05:06:07+00')")
        await plain.set_autocommit(True)
        for setting in _HOSTILE:
            await plain.execute(f"SET {setting}".encode())
        seen = [one async for part in slot.peek(upto=await slot.flushed(), most=10) for one, _ in part]
        assert [one.row for one in seen if isinstance(one, Insert)] == [["2024-03-04 05:06:07+00"]]


async def test_a_transaction_larger_than_what_is_held_in_memory(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    ends.make(SCHEMA, ROWS)
    await ends.until_now(PLAIN)
    execute(
        ends.source, "INSERT INTO t SELECT n, 'many' FROM generate_series(10, 20000) n; DELETE FROM t WHERE id % 3 = 0"
    )
    execute(ends.source, "UPDATE t SET v = 'again' WHERE id % 2 = 0")
    report = await ends.until_now(PLAIN)
    assert report.complete
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")


async def test_the_log_that_the_source_keeps_has_a_limit(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    ends.make(SCHEMA, ROWS)
    stream = ends.stream(PLAIN, FollowOptions(interval=0.05, accept_unbounded=True, idle_interval=0.1, most_held=1))
    for _ in range(200):
        if any("given up" in notice for notice in ends.told.notices) or stream.task.done():
            break
        execute(ends.source, "UPDATE t SET v = v || '+' WHERE id = 1")
        await stream.pause()
    execute(ends.source, "UPDATE t SET v = 'last' WHERE id = 2")
    await stream.rounds(2)
    assert (ends.slots(), query(ends.source, "SELECT FROM pg_publication")) == ([], [])
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")
    assert (await stream.end()).by == "xmin"


async def test_a_paused_stream_applies_nothing_and_watches_the_log_that_the_source_keeps(
    stream_ends: StreamEnds,
) -> None:
    ends = stream_ends
    ends.make(SCHEMA, ROWS)
    how = FollowOptions(interval=0.05, accept_unbounded=True, idle_interval=0.1, most_held=4_000_000)
    stream = ends.stream(PLAIN, how)
    await stream.begun()
    stream.sync._pace.pause()
    await stream.until(lambda: stream.sync._pace.is_held)
    execute(ends.source, "UPDATE t SET v = 'while paused' WHERE id = 2")
    await asyncio.sleep(0.5)
    assert (value(ends.target, "SELECT v FROM t WHERE id = 2"), len(ends.slots())) == ("old", 1)
    stream.sync._pace.resume()
    await stream.caught_up()
    assert value(ends.target, "SELECT v FROM t WHERE id = 2") == "while paused"
    stream.sync._pace.pause()
    execute(ends.source, "UPDATE t SET v = 'again' WHERE id = 2")
    execute(ends.source, "SELECT pg_logical_emit_message(false, 'botdata tests', repeat('x', 5000000))")
    await stream.until(lambda: any("more than --max-wal" in notice for notice in ends.told.notices))
    assert ends.slots() == []
    assert value(ends.target, "SELECT v FROM t WHERE id = 2") == "while paused"
    stream.sync._pace.resume()
    await stream.rounds(1)
    assert (await stream.end()).by == "xmin"
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")
