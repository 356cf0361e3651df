"""Tables that inherit: each row is moved, compared and changed in the table that holds it, and in no other."""

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.migration.copy.copier import CopyOptions
from app.migration.tables.metadata import select_tables
from tests.fixtures.sources import MakeSource, Source
from tests.migration.engine import copy_from, execute, query, verify_from
from tests.migration.two_ends import sync_from
from tests.support.faults import Fault, Request
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

METADATA = MetaData()
for _name in ("events", "events_24", "events_24_spring", "events_25"):
    _more = [Column("more", Text)] if _name == "events_24" else []
    Table(_name, METADATA, Column("id", Integer, primary_key=True, autoincrement=False), Column("kind", Text), *_more)
_CHOSEN = select_tables(METADATA)
_TABLES = """
CREATE TABLE events (id integer PRIMARY KEY, kind text);
CREATE TABLE events_24 (more text, PRIMARY KEY (id)) INHERITS (events);
CREATE TABLE events_24_spring (PRIMARY KEY (id)) INHERITS (events_24);
CREATE TABLE events_25 (PRIMARY KEY (id)) INHERITS (events);
"""
# Ids are in several of them, with other values; events_25 is empty.
_ROWS = """
INSERT INTO events SELECT n, 'parent ' || n FROM generate_series(1, 9) n;
INSERT INTO events_24 SELECT n, 'child ' || n, 'more' FROM generate_series(5, 12) n;
INSERT INTO events_24_spring SELECT n, 'grandchild ' || n FROM generate_series(8, 14) n;
"""
Counts = dict[str, tuple[int, int, int]]


def _all(url: str) -> list[str]:
    """Every row with the table that holds it."""
    whole = "SELECT e.tableoid::regclass::text || ' ' || e::text FROM events e"
    more = "SELECT tableoid::regclass::text || ' more ' || id || coalesce(more, '') FROM events_24"
    return sorted(text for (text,) in query(url, f"{whole} UNION ALL {more}"))


async def _synced(source: Source, target: str, **options: object) -> Counts:
    """Of each table with changes: rows inserted, updated and deleted."""
    report = await sync_from(source, target, _CHOSEN, **options)
    assert report.complete
    counts = {name: (one.inserted, one.updated, one.deleted) for name, one in report.tables.items()}
    return {name: found for name, found in counts.items() if any(found)}


# What is written at one side, one after the other, and what then arrives at the other one.
CHANGES: list[tuple[str, Counts]] = [
    ("UPDATE ONLY events SET kind = 'new' WHERE id = 9", {"events": (0, 1, 0)}),
    (
        "UPDATE events SET kind = 'newer' WHERE id = 9",
        {"events": (0, 1, 0), "events_24": (0, 1, 0), "events_24_spring": (0, 1, 0)},
    ),
    ("UPDATE ONLY events_24 SET kind = 'new' WHERE id = 5", {"events_24": (0, 1, 0)}),
    ("UPDATE events_24_spring SET kind = 'new' WHERE id = 8", {"events_24_spring": (0, 1, 0)}),
    ("DELETE FROM ONLY events WHERE id IN (5, 9)", {"events": (0, 0, 2)}),
    ("DELETE FROM ONLY events_24 WHERE id IN (5, 9)", {"events_24": (0, 0, 2)}),
    ("DELETE FROM events WHERE id = 8", {"events": (0, 0, 1), "events_24": (0, 0, 1), "events_24_spring": (0, 0, 1)}),
    ("INSERT INTO events_25 VALUES (1, 'first'), (9, 'second'), (99, 'third')", {"events_25": (3, 0, 0)}),
    (
        "DELETE FROM ONLY events WHERE id = 1; INSERT INTO events_24 VALUES (1, 'parent 1')",
        {"events": (0, 0, 1), "events_24": (1, 0, 0)},
    ),
]


async def test_copied_twice_and_verified(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(_TABLES + _ROWS)
    execute(fresh_database, _TABLES)
    for inserted, unchanged in ((24, 0), (0, 24)):
        report = await copy_from(source, fresh_database, _CHOSEN)
        assert report.complete
        by_table = {table.table: (table.source_after, table.went) for table in report.tables}
        assert by_table == {"events": (9, 0), "events_24": (8, 0), "events_24_spring": (7, 0), "events_25": (0, 0)}
        assert sum(table.inserted for table in report.tables) == inserted
        assert sum(table.unchanged for table in report.tables) == unchanged
        assert _all(fresh_database) == _all(source.database_url)
    verified = await verify_from(source, fresh_database, _CHOSEN)
    assert verified.clean
    assert {table.table: table.source_rows for table in verified.tables} == {
        "events": 9,
        "events_24": 8,
        "events_24_spring": 7,
        "events_25": 0,
    }


async def test_a_sync_brings_changes(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(_TABLES + _ROWS)
    execute(fresh_database, _TABLES)
    assert (await copy_from(source, fresh_database, _CHOSEN)).complete
    assert await _synced(source, fresh_database) == {}
    for change, expected in CHANGES:
        execute(source.database_url, change)
        assert await _synced(source, fresh_database) == expected, change
        assert _all(fresh_database) == _all(source.database_url), change
    assert (await verify_from(source, fresh_database, _CHOSEN)).clean


async def test_each_change_goes_back_to_the_table_that_holds_the_row(
    make_source: MakeSource, fresh_database: str
) -> None:
    source = make_source(_TABLES + _ROWS)
    execute(fresh_database, _TABLES)
    assert (await copy_from(source, fresh_database, _CHOSEN)).complete
    for change, expected in CHANGES:
        execute(fresh_database, change)
        assert await _synced(source, fresh_database, reverse=True, target_in_use=True) == expected, change
        assert _all(fresh_database) == _all(source.database_url), change
    assert await _synced(source, fresh_database, reverse=True, target_in_use=True) == {}


# What is spoilt in the target, and what is found: table, kind and key.
_SPOILT: list[tuple[str, list[tuple[str, str, tuple[str, ...]]]]] = [
    ("UPDATE ONLY events_24 SET kind = 'x' WHERE id = 9", [("events_24", "different", ("9",))]),
    ("UPDATE events_24_spring SET kind = 'x' WHERE id = 9", [("events_24_spring", "different", ("9",))]),
    ("UPDATE ONLY events SET kind = 'x' WHERE id = 9", [("events", "different", ("9",))]),
    ("DELETE FROM ONLY events_24 WHERE id = 9", [("events_24", "missing", ("9",))]),
    ("INSERT INTO events_25 VALUES (9, 'x')", [("events_25", "extra", ("9",))]),
    (
        "DELETE FROM ONLY events WHERE id = 1; INSERT INTO events_25 VALUES (1, 'parent 1')",
        [("events", "missing", ("1",)), ("events_25", "extra", ("1",))],
    ),
]


async def test_a_difference_is_found_once(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(_TABLES + _ROWS)
    execute(fresh_database, _TABLES)
    for spoil, expected in _SPOILT:
        await copy_from(source, fresh_database, _CHOSEN, options=CopyOptions(overwrite=True))
        execute(fresh_database, spoil)
        report = await verify_from(source, fresh_database, _CHOSEN)
        assert sorted((one.table, one.kind, one.key) for one in report.differences) == expected, spoil
        assert sum(table.rows_that_differ for table in report.tables) == len(expected), spoil
        assert all(table.counts_agree for table in report.tables), spoil
        execute(fresh_database, "DELETE FROM events_25")


async def test_an_empty_child_gets_its_first_row_while_the_parent_is_read(
    databases: PostgresServer, fresh_database: str
) -> None:
    """Over REST nothing tells its row from the parent's own until it is asked for again."""
    database = databases.create_database()
    try:
        execute(database, _TABLES + _ROWS)
        execute(fresh_database, _TABLES)
        came: list[int] = []

        def hook(request: Request) -> Fault | None:
            if request.table == "events" and (request.parameter("id") or "").startswith("gt.") and not came:
                came.append(request.number)
                execute(database, "INSERT INTO events_25 VALUES (500, 'first')")
            return None

        with PageServer(database, max_rows=4, hook=hook) as pages:
            source = Source(pages.url, pages.service_key, database, is_lite=False)
            report = await copy_from(source, fresh_database, _CHOSEN)
            assert came
            if _all(fresh_database) != _all(database):
                assert not report.complete
                assert await _synced(source, fresh_database)
            assert _all(fresh_database) == _all(database)
            assert (await verify_from(source, fresh_database, _CHOSEN)).clean
    finally:
        databases.drop_database(database)


# --- Partitioned at one end, a plain table at the other ---

_READINGS = MetaData()
Table("readings", _READINGS, Column("id", Integer, primary_key=True, autoincrement=False), Column("value", Text))
_PLAIN = "CREATE TABLE readings (id integer PRIMARY KEY, value text)"
_PARTS = (
    f"{_PLAIN} PARTITION BY RANGE (id); "
    "CREATE TABLE readings_low PARTITION OF readings FOR VALUES FROM (MINVALUE) TO (6) PARTITION BY LIST (id); "
    "CREATE TABLE readings_few PARTITION OF readings_low FOR VALUES IN (1, 2); "
    "CREATE TABLE readings_rest PARTITION OF readings_low DEFAULT; "
    "CREATE TABLE readings_high PARTITION OF readings FOR VALUES FROM (6) TO (MAXVALUE)"
)


@pytest.mark.parametrize(("there", "here"), [(_PARTS, _PLAIN), (_PLAIN, _PARTS)], ids=["source", "target"])
async def test_partitioned_at_one_end(make_source: MakeSource, fresh_database: str, there: str, here: str) -> None:
    source = make_source(f"{there}; INSERT INTO readings SELECT n, 'row ' || n FROM generate_series(1, 12) n")
    execute(fresh_database, here)
    chosen = select_tables(_READINGS)

    def rows(url: str) -> list[tuple[int, str]]:
        return query(url, "SELECT id, value FROM readings ORDER BY id")

    for inserted, unchanged in ((12, 0), (0, 12)):
        report = await copy_from(source, fresh_database, chosen)
        assert (report.complete, report.tables[0].source_after) == (True, 12)
        assert (report.tables[0].inserted, report.tables[0].unchanged) == (inserted, unchanged)
    assert rows(fresh_database) == rows(source.database_url)
    assert (await verify_from(source, fresh_database, chosen)).clean
    execute(
        source.database_url,
        "UPDATE readings SET value = 'new' WHERE id IN (1, 7); DELETE FROM readings WHERE id = 4; "
        "UPDATE readings SET id = 60 WHERE id = 5",
    )
    found = (await verify_from(source, fresh_database, chosen)).tables[0]
    assert (found.missing, found.extra, found.different, found.counts_agree) == (1, 2, 2, True)
    synced = await sync_from(source, fresh_database, chosen)
    one = synced.tables["readings"]
    assert (synced.complete, one.inserted, one.updated, one.deleted) == (True, 1, 2, 2)
    assert rows(fresh_database) == rows(source.database_url)
    if there == _PARTS and source.url != source.database_url:
        return  # it is for the server there to write to a partitioned table
    execute(fresh_database, "UPDATE readings SET value = 'back' WHERE id IN (2, 8); DELETE FROM readings WHERE id = 9")
    back = await sync_from(source, fresh_database, chosen, reverse=True, target_in_use=True)
    one = back.tables["readings"]
    assert (back.complete, one.inserted, one.updated, one.deleted) == (True, 0, 2, 1)
    assert rows(fresh_database) == rows(source.database_url)
    assert (await verify_from(source, fresh_database, chosen)).clean


async def test_heirs_at_the_source_are_partitions_at_the_target(make_source: MakeSource, fresh_database: str) -> None:
    """Only the parent is in the models: its rows are those of all of them."""
    chosen = select_tables(METADATA, names=["events"])
    source = make_source(
        "CREATE TABLE events (id integer PRIMARY KEY, kind text); "
        "CREATE TABLE old (PRIMARY KEY (id)) INHERITS (events); "
        "INSERT INTO old SELECT n, 'old' FROM generate_series(1, 5) n; INSERT INTO events VALUES (9, 'new')"
    )
    execute(
        fresh_database,
        "CREATE TABLE events (id integer PRIMARY KEY, kind text) PARTITION BY RANGE (id); "
        "CREATE TABLE all_of_them PARTITION OF events DEFAULT",
    )
    assert (await copy_from(source, fresh_database, chosen)).complete
    rows = "SELECT * FROM events ORDER BY id"
    assert query(fresh_database, rows) == query(source.database_url, rows)
    assert len(query(fresh_database, rows)) == 6
    assert (await verify_from(source, fresh_database, chosen)).clean
    execute(source.database_url, "UPDATE old SET kind = 'older' WHERE id = 2; DELETE FROM old WHERE id = 3")
    assert (await sync_from(source, fresh_database, chosen)).complete
    assert query(fresh_database, rows) == query(source.database_url, rows)
