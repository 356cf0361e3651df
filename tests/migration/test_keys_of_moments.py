"""Keys that hold a moment, which a source in another time zone writes with other texts."""

import pytest
from sqlalchemy import Column, DateTime, Integer, MetaData, Table, Text

from app.migration.tables.metadata import select_tables
from tests.fixtures.sources import MakeSource
from tests.migration.engine import copy_from, execute, query, verify_from
from tests.migration.two_ends import sync_from

METADATA = MetaData()
Table(
    "readings",
    METADATA,
    Column("sensor", Integer, primary_key=True, autoincrement=False),
    Column("at", DateTime(timezone=True), primary_key=True),
    Column("note", Text),
)
CHOSEN = select_tables(METADATA)
TABLE = "CREATE TABLE readings (sensor integer, at timestamptz, note text, PRIMARY KEY (sensor, at)); "
ROWS = (
    "INSERT INTO readings SELECT n % 2, '2024-01-01 00:30:00+00'::timestamptz + n * interval '1 hour', 'note ' || n "
    "FROM generate_series(1, 20) n; "
)
NEPAL = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Kathmandu''', current_database()); END $$"
SHOWN = "SELECT sensor, extract(epoch FROM at)::bigint, note FROM readings ORDER BY 1, 2"


@pytest.mark.parametrize("most_by_key", [5000, 1])
async def test_there_and_back(make_source: MakeSource, fresh_database: str, most_by_key: int) -> None:
    source = make_source(TABLE + ROWS + NEPAL)
    execute(fresh_database, TABLE)
    assert (await copy_from(source, fresh_database, CHOSEN)).complete
    assert (await sync_from(source, fresh_database, CHOSEN)).complete
    execute(
        source.database_url,
        "UPDATE readings SET note = 'changed' WHERE note IN ('note 3', 'note 4', 'note 8'); "
        "DELETE FROM readings WHERE note IN ('note 5', 'note 6'); INSERT INTO readings VALUES (0, now(), 'new')",
    )
    report = (await sync_from(source, fresh_database, CHOSEN, most_by_key=most_by_key)).tables["readings"]
    assert (report.inserted, report.updated, report.deleted, report.unsettled) == (1, 3, 2, 0)
    assert query(fresh_database, SHOWN) == query(source.database_url, SHOWN)
    assert (await verify_from(source, fresh_database, CHOSEN)).clean
    execute(
        fresh_database,
        "UPDATE readings SET note = 'back' WHERE note IN ('note 7', 'note 9'); "
        "DELETE FROM readings WHERE note IN ('note 11', 'note 12'); INSERT INTO readings VALUES (1, now(), 'newer')",
    )
    back = await sync_from(source, fresh_database, CHOSEN, reverse=True, target_in_use=True, most_by_key=most_by_key)
    assert back.complete
    assert query(source.database_url, SHOWN) == query(fresh_database, SHOWN)
    assert (await verify_from(source, fresh_database, CHOSEN)).clean


async def test_beside_a_key_that_the_target_cannot_hold(make_source: MakeSource, fresh_database: str) -> None:
    """Keys of its page are the same moments still, whatever their texts."""
    source = make_source(TABLE + ROWS + NEPAL)
    execute(fresh_database, TABLE)
    assert (await copy_from(source, fresh_database, CHOSEN)).complete
    execute(source.database_url, "ALTER TABLE readings ALTER sensor TYPE bigint")
    execute(source.database_url, "INSERT INTO readings VALUES (-3000000000, now(), 'below every integer')")
    report = await verify_from(source, fresh_database, CHOSEN)
    assert {(found.kind, found.key[0]) for found in report.differences} == {("missing", "-3000000000")}
    assert report.tables[0].equal == 20
