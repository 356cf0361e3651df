"""What sends nothing by a stream, or comes out otherwise, is seen all the same; nothing that is left counts as done."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from app.errors import MigrationError
from tests.fixtures.streams import QUICK, StreamEnds, dropping
from tests.migration.engine import copy_from, execute, row_texts
from tests.stream.projects import PLAIN, ROWS, SCHEMA, named
from tests.stream.test_stream_back import Back
from tests.support.postgres import PostgresServer
from tests.support.streaming import Node

_PARTED = "CREATE TABLE t (id integer PRIMARY KEY, v text) PARTITION BY RANGE (id)"
_PARTS = "".join(f"CREATE TABLE t_{n} PARTITION OF t FOR VALUES FROM ({n}0) TO ({n + 1}0); " for n in range(1, 4))
_EMPTY_ONE = "TRUNCATE t_2; INSERT INTO t VALUES (20, 'after')"


async def test_a_partition_that_is_emptied_by_itself(stream_ends: StreamEnds) -> None:
    """Its TRUNCATE sends nothing where the changes are those of the partitioned table."""
    ends = stream_ends
    ends.make(f"{_PARTED}; {_PARTS}", "INSERT INTO t SELECT n, 'old' FROM generate_series(10, 28) n", SCHEMA)
    await ends.until_now(PLAIN)
    execute(ends.source, _EMPTY_ONE)
    ends.told.notices.clear()
    assert (await ends.until_now(PLAIN)).complete
    assert any("since partitions of t may have been emptied" in notice for notice in ends.told.notices)
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")
    stream = ends.stream(PLAIN)
    await stream.begun()
    execute(ends.source, _EMPTY_ONE)
    assert await stream.until(lambda: row_texts(ends.target, "t") == row_texts(ends.source, "t"))
    execute(ends.source, "TRUNCATE t; INSERT INTO t VALUES (11, 'whole')")
    await stream.caught_up()
    await stream.end()
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t") == ["(11,whole)"]


async def test_a_partition_that_is_emptied_just_before_it_is_stopped(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    ends.make(f"{_PARTED}; {_PARTS}", "INSERT INTO t SELECT n, 'old' FROM generate_series(10, 28) n", SCHEMA)
    stream = ends.stream(PLAIN, replace(QUICK, check_interval=60.0))
    await stream.begun()
    execute(ends.source, _EMPTY_ONE)
    report = await stream.end()
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t") or not report.complete


async def test_a_table_whose_partitions_come_later(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    ends.make(_PARTED, "", SCHEMA)
    for _ in range(2):
        assert (await ends.until_now(PLAIN)).complete
    execute(ends.source, f"{_PARTS} INSERT INTO t VALUES (20, 'new')")
    assert (await ends.until_now(PLAIN)).complete
    assert row_texts(ends.target, "t") == ["(20,new)"]


# What is written meanwhile is sent as another table's, or not at all.
_MEANWHILE = "UPDATE {0} SET v = 'meanwhile' WHERE id = 13; DELETE FROM {0} WHERE id = 14; "
_AWAY = {
    "a partition is detached": (
        f"ALTER TABLE t DETACH PARTITION t_1; {_MEANWHILE.format('t_1')}"
        "ALTER TABLE t ATTACH PARTITION t_1 FOR VALUES FROM (10) TO (20)"
    ),
    "another name": f"ALTER TABLE t RENAME TO x; {_MEANWHILE.format('x')} ALTER TABLE x RENAME TO t",
    "another schema": f"CREATE SCHEMA x; ALTER TABLE t SET SCHEMA x; {_MEANWHILE.format('x.t')}"
    "ALTER TABLE x.t SET SCHEMA public",
    "a column's other name": "ALTER TABLE t RENAME v TO x; UPDATE t SET x = 'meanwhile' WHERE id = 13; "
    "ALTER TABLE t RENAME x TO v",
    "no primary key, and two rows of one": "ALTER TABLE t_1 REPLICA IDENTITY FULL; ALTER TABLE t DROP CONSTRAINT "
    "t_pkey; INSERT INTO t VALUES (13, 'twin'); DELETE FROM t_1 WHERE v = 'twin'; ALTER TABLE t ADD PRIMARY KEY (id); "
    "ALTER TABLE t_1 REPLICA IDENTITY DEFAULT",
}


@pytest.mark.parametrize("away", _AWAY)
async def test_a_table_that_is_another_for_a_while(stream_ends: StreamEnds, away: str) -> None:
    ends = stream_ends
    ends.make(f"{_PARTED}; {_PARTS}", "INSERT INTO t SELECT n, 'old' FROM generate_series(10, 28) n", SCHEMA)
    await ends.until_now(PLAIN)
    execute(ends.source, _AWAY[away])
    execute(ends.source, "UPDATE t SET v = 'later' WHERE id = 15")
    if "other" in away:  # its changes come
        with pytest.raises(MigrationError, match="the source's tables t were changed"):
            await ends.until_now(PLAIN)
    assert (await ends.until_now(PLAIN)).complete
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")
    ends.told.notices.clear()
    assert (await ends.until_now(PLAIN)).complete
    assert not any("since" in notice for notice in ends.told.notices)


async def test_two_tables_that_exchange_their_names_for_a_while(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    schema = f"{SCHEMA}; {SCHEMA.replace(' t ', ' u ')}"
    exchange = "ALTER TABLE t RENAME TO x; ALTER TABLE u RENAME TO t; ALTER TABLE x RENAME TO u; "
    ends.make(schema, "INSERT INTO t VALUES (1, 't'); INSERT INTO u VALUES (1, 'u')")
    both = named("t", "u")
    await ends.until_now(both)
    execute(ends.source, f"{exchange} UPDATE t SET v = v || v; {exchange}")
    with pytest.raises(MigrationError, match="were changed"):
        await ends.until_now(both)
    assert (await ends.until_now(both)).complete
    for table in ("t", "u"):
        assert row_texts(ends.target, table) == row_texts(ends.source, table)


async def test_what_comes_otherwise_by_a_stream_is_followed_by_the_rows_versions(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    ends.make(
        "CREATE DOMAIN flag AS boolean; CREATE DOMAIN flags AS flag; CREATE TABLE t (id flags PRIMARY KEY, v xml)",
        target="CREATE TABLE t (id text PRIMARY KEY, v text)",
    )
    execute(ends.source, "INSERT INTO t VALUES (true)")
    await ends.until_now(PLAIN)
    execute(ends.source, "UPDATE t SET id = false")
    assert (await ends.until_now(PLAIN)).complete
    assert row_texts(ends.target, "t") == ["(false,)"]


# Fires for this program, too.
_UPPER = (
    "CREATE FUNCTION upper_v() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.v := upper(new.v); RETURN new; END $$; "
    "CREATE TRIGGER upper_v BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION upper_v(); "
    "ALTER TABLE t ENABLE ALWAYS TRIGGER upper_v"
)


async def test_what_a_trigger_of_the_target_changes_is_read_back(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    ends.make(SCHEMA, "", f"{SCHEMA}; {_UPPER}")
    assert (await ends.until_now(PLAIN)).complete
    execute(ends.source, "INSERT INTO t VALUES (1, 'one')")
    for _ in range(2):
        report = await ends.until_now(PLAIN)
        assert (report.complete, report.tables["t"].unsettled) == (False, 1)


async def test_rows_that_stay_different_are_so_in_the_next_start(stream_ends: StreamEnds) -> None:
    """The first sync reads back what it wrote: a type of the target makes another value of it."""
    ends = stream_ends
    ends.make("CREATE TABLE t (id integer PRIMARY KEY, v json)", "", "CREATE TABLE t (id integer PRIMARY KEY, v jsonb)")
    execute(ends.source, 'INSERT INTO t VALUES (1, \'{"b":1,"a":2}\')')
    for _ in range(2):
        report = await ends.until_now(PLAIN)
        assert (report.complete, report.tables["t"].unsettled) == (False, 1)


@pytest.fixture
def both(logical_node: Node, logical_server: PostgresServer) -> Iterator[Back]:
    source, target = logical_server.create_database(), logical_server.create_database()
    with dropping(logical_server, source), dropping(logical_server, target):
        yield Back(logical_node, source, target)


async def test_rows_in_quarantine_that_stay_at_the_source_are_left(both: Back) -> None:
    both.make(SCHEMA, ROWS, f"{SCHEMA}; ALTER TABLE t ADD CHECK (id <> 3)")
    assert len((await copy_from(both.served, both.target, PLAIN)).tables[0].refused) == 1
    for _ in range(2):
        report = await both.back(PLAIN)
        assert (report.complete, report.tables["t"].left) == (False, 1)
