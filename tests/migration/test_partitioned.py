"""A partitioned table of the target: its rows are loaded again as any others are."""

import pytest
from sqlalchemy import Column, Date, Integer, MetaData, Numeric, Table, Text

from app.migration.copy.copier import CopyOptions
from app.migration.quarantine.replay import replay
from app.migration.tables.metadata import select_tables
from app.migration.verify.options import VerifyOptions
from tests.fixtures.sources import MakeSource
from tests.migration.engine import copy_from, execute, query, row_texts, value, verify_from
from tests.migration.two_ends import sync_from

METADATA = MetaData()
_READINGS = Table(
    "readings",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("day", Date, primary_key=True),
    Column("value", Numeric),
    Column("p", Text),
)
_TABLE = """
CREATE TABLE readings (
    id integer NOT NULL, day date NOT NULL, value numeric {}, p text, PRIMARY KEY (id, day)
) PARTITION BY RANGE (day);
CREATE TABLE readings_jan PARTITION OF readings FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE readings_feb PARTITION OF readings FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
"""
_SOURCE = (
    _TABLE.format("")
    + """
INSERT INTO readings VALUES (1, '2024-01-05', 1), (2, '2024-01-06', 2), (3, '2024-02-01', 3), (4, '2024-02-29', 4);
"""
)
_TARGET = _TABLE.format("CONSTRAINT small CHECK (value < 1000000)")
_CHANGES = "UPDATE readings SET value = value + 1 WHERE id = 2; INSERT INTO readings VALUES (5, '2024-02-02', 9);"
_CHOSEN = select_tables(METADATA)
# A trigger on updates, so that a changed row is deleted and inserted.
_TOUCH = """
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.value := 0; RETURN new; END';
CREATE TRIGGER touch BEFORE UPDATE ON {0} FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE {0} ENABLE ALWAYS TRIGGER touch;
"""


# Over REST it is for the server there to write to a partitioned table.
@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
async def test_the_way_back(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(_SOURCE)
    execute(fresh_database, _TARGET)
    assert (await copy_from(source, fresh_database, _CHOSEN)).complete
    execute(fresh_database, _CHANGES + "DELETE FROM readings WHERE id = 1")
    back = await sync_from(source, fresh_database, _CHOSEN, reverse=True, target_in_use=True)
    assert back.complete
    assert row_texts(fresh_database, "readings") == row_texts(source.database_url, "readings")


@pytest.mark.parametrize("trigger", ["", _TOUCH.format("readings"), _TOUCH.format("readings_jan")])
async def test_rows_of_partitions_are_loaded_again_once(
    make_source: MakeSource, fresh_database: str, trigger: str
) -> None:
    source = make_source(_SOURCE)
    execute(fresh_database, _TARGET + trigger)
    first = await copy_from(source, fresh_database, _CHOSEN)
    assert (first.complete, first.tables[0].inserted) == (True, 4)
    execute(source.database_url, _CHANGES)
    again = await copy_from(source, fresh_database, _CHOSEN)
    (table,) = again.tables
    assert (again.complete, table.inserted, table.updated, table.unchanged) == (True, 1, 1, 3)
    assert row_texts(fresh_database, "readings") == row_texts(source.database_url, "readings")
    unknown = "SELECT count(*) FROM readings t WHERE xmin::text NOT IN (SELECT xid FROM botdata.writes)"
    assert value(fresh_database, unknown) == 0
    third = await copy_from(source, fresh_database, _CHOSEN)
    assert (third.tables[0].inserted, third.tables[0].updated, third.tables[0].unchanged) == (0, 0, 5)


async def test_a_refused_row_synced_mended_and_replayed(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(_SOURCE + "INSERT INTO readings VALUES (6, '2024-01-31', 1000000)")
    execute(fresh_database, _TARGET)
    report = await copy_from(source, fresh_database, _CHOSEN)
    (table,) = report.tables
    assert [(row.key, row.place) for row in table.refused] == [(("6", "2024-01-31"), "small")]
    assert (table.inserted, table.updated) == (4, 0)
    execute(source.database_url, _CHANGES + "DELETE FROM readings WHERE id = 1")
    synced = (await sync_from(source, fresh_database, _CHOSEN)).tables["readings"]
    assert (synced.inserted, synced.updated, synced.deleted, len(synced.refused)) == (1, 1, 1, 1)
    execute(
        fresh_database,
        "UPDATE readings SET value = 77 WHERE id = 3; DELETE FROM readings WHERE id = 4; "
        "ALTER TABLE readings DROP CONSTRAINT small",
    )
    assert (await replay(fresh_database, METADATA)).complete
    fixed = await verify_from(source, fresh_database, _CHOSEN, options=VerifyOptions(fix=True, pause=0.01))
    assert (fixed.clean, fixed.tables[0].fixed) == (True, 2)
    assert row_texts(fresh_database, "readings") == row_texts(source.database_url, "readings")
    quiet = (await sync_from(source, fresh_database, _CHOSEN)).tables["readings"]
    assert (quiet.changed, quiet.unsettled) == (0, 0)


async def test_a_row_of_someone_else_is_not_taken_for_ours(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(_SOURCE)
    execute(fresh_database, _TARGET + "INSERT INTO readings VALUES (1, '2024-01-05', 1), (2, '2024-01-06', 7)")
    report = await copy_from(source, fresh_database, _CHOSEN, options=CopyOptions(overwrite=True))
    assert (report.tables[0].inserted, report.tables[0].updated, report.tables[0].unchanged) == (2, 1, 1)
    assert query(fresh_database, "SELECT value FROM readings ORDER BY id") == [(1,), (2,), (3,), (4,)]
