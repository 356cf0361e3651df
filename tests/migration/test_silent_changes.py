"""Values that change without a write, as DDL does it: a sync finds them."""

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.migration.tables.metadata import select_tables
from tests.fixtures.sources import MakeSource
from tests.migration.engine import copy_from, execute, query, verify_from
from tests.migration.two_ends import sync_from

METADATA = MetaData()
Table("held", METADATA, Column("id", Integer, primary_key=True), Column("v", Text), Column("mood", Text))
CHOSEN = select_tables(METADATA)
SCHEMA = "CREATE TYPE mood AS ENUM ('sad', 'calm'); CREATE TABLE held (id integer PRIMARY KEY, v text, mood mood); "
FILLED = f"{SCHEMA} INSERT INTO held VALUES (1, 'a', 'sad'), (2, NULL, 'calm')"
CHANGES = {
    "a label renamed": ("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", "ALTER TYPE mood ADD VALUE 'blue'"),
    "a column made anew": ("ALTER TABLE held DROP v; ALTER TABLE held ADD v text DEFAULT 'fresh'", ""),
}
ROWS = "SELECT id, v, mood::text FROM held ORDER BY id"


@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
@pytest.mark.parametrize("change", CHANGES)
async def test_what_the_source_changes_without_a_write(
    make_source: MakeSource, fresh_database: str, change: str
) -> None:
    source = make_source(FILLED)
    execute(fresh_database, SCHEMA)
    assert (await sync_from(source, fresh_database, CHOSEN)).complete
    at_source, at_target = CHANGES[change]
    execute(source.database_url, at_source)
    if at_target:
        execute(fresh_database, at_target)
    assert (await sync_from(source, fresh_database, CHOSEN, dry_run=True)).tables["held"].updated > 0
    assert (await sync_from(source, fresh_database, CHOSEN)).complete
    assert query(fresh_database, ROWS) == query(source.database_url, ROWS)
    assert (await sync_from(source, fresh_database, CHOSEN)).tables["held"].updated == 0


async def test_what_the_target_changes_without_a_write(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(FILLED)
    execute(fresh_database, SCHEMA)
    assert (await copy_from(source, fresh_database, CHOSEN)).complete
    assert (await sync_from(source, fresh_database, CHOSEN)).complete
    execute(fresh_database, "ALTER TABLE held DROP v; ALTER TABLE held ADD v text DEFAULT 'fresh'")
    assert (await sync_from(source, fresh_database, CHOSEN)).complete
    assert query(fresh_database, ROWS) == query(source.database_url, ROWS)
    execute(fresh_database, "ALTER TABLE held DROP v; ALTER TABLE held ADD v text DEFAULT 'fresh'")
    assert (await sync_from(source, fresh_database, CHOSEN, reverse=True, target_in_use=True)).complete
    assert query(source.database_url, ROWS) == query(fresh_database, ROWS)
    assert (await verify_from(source, fresh_database, CHOSEN)).clean


async def test_a_target_that_was_restored(make_source: MakeSource, fresh_database: str) -> None:
    """Its rows are of other transactions, whose numbers may be those that a sync remembers."""
    source = make_source(FILLED)
    execute(fresh_database, SCHEMA)
    assert (await sync_from(source, fresh_database, CHOSEN)).complete
    assert (await sync_from(source, fresh_database, CHOSEN)).complete
    execute(fresh_database, "UPDATE held SET v = 'changed' WHERE id = 1")  # when the backup was made
    execute(fresh_database, "ALTER TABLE held RENAME TO backup; CREATE TABLE held (LIKE backup INCLUDING ALL)")
    execute(fresh_database, "INSERT INTO held SELECT * FROM backup")
    execute(fresh_database, "UPDATE botdata.row_versions SET target_xid = (SELECT xmin::text FROM held WHERE id = 1)")
    assert (await sync_from(source, fresh_database, CHOSEN, overwrite=True)).complete
    assert query(fresh_database, ROWS) == query(source.database_url, ROWS)
