"""Values that change without a write, as DDL does it: a sync finds them."""

import asyncio
import shutil
import subprocess

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.migration.tables.metadata import select_tables
from tests.fixtures.sources import MakeSource, Source
from tests.migration.engine import copy_from, execute, query, verify_from
from tests.migration.two_ends import sync_from
from tests.support.streaming import run_cluster

METADATA = MetaData()
Table("held", METADATA, Column("id", Integer, primary_key=True), Column("v", Text), Column("mood", Text))
CHOSEN = select_tables(METADATA)
SCHEMA = "CREATE TYPE mood AS ENUM ('sad', 'calm'); CREATE TABLE held (id integer PRIMARY KEY, v text, mood mood); "
_PLACE = "CREATE TABLE place (street text, town text); CREATE TABLE held (id integer PRIMARY KEY, v {}, mood text); "
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


@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
@pytest.mark.parametrize("kind", ["place", "place[]"])
async def test_a_column_of_a_tables_row_type(make_source: MakeSource, fresh_database: str, kind: str) -> None:
    schema = _PLACE.format(kind)
    value = "'{\"(a,b)\"}'" if kind.endswith("[]") else "'(a,b)'"
    source = make_source(f"{schema} INSERT INTO held VALUES (1, {value}, NULL)")
    execute(fresh_database, schema)
    assert (await sync_from(source, fresh_database, CHOSEN)).complete
    execute(source.database_url, "ALTER TABLE place DROP town; ALTER TABLE place ADD town text")
    assert (await sync_from(source, fresh_database, CHOSEN)).complete
    texts = "SELECT v::text FROM held"
    assert query(fresh_database, texts) == query(source.database_url, texts)


@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
async def test_a_virtual_column_of_the_source(make_source: MakeSource, fresh_database: str) -> None:
    virtual = "CREATE TABLE held (id integer PRIMARY KEY, v integer GENERATED ALWAYS AS (id * 2) VIRTUAL, mood text); "
    source = make_source(f"{virtual} INSERT INTO held VALUES (1), (2)")
    if query(source.database_url, "SELECT current_setting('server_version_num')::int < 180000") == [(True,)]:
        pytest.skip("virtual columns came with PostgreSQL 18")
    execute(fresh_database, "CREATE TABLE held (id integer PRIMARY KEY, v integer, mood text)")
    assert (await sync_from(source, fresh_database, CHOSEN)).complete
    execute(source.database_url, "ALTER TABLE held ALTER v SET EXPRESSION AS (id * 3)")
    assert (await sync_from(source, fresh_database, CHOSEN)).complete
    assert query(fresh_database, ROWS) == query(source.database_url, ROWS) == [(1, 3, None), (2, 6, None)]


@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
async def test_partitions_that_are_exchanged(make_source: MakeSource, fresh_database: str) -> None:
    """The rows of both were made by one transaction, as those of a restore with --single-transaction are."""
    source = make_source(
        "CREATE TABLE held (id integer PRIMARY KEY, v text, mood text) PARTITION BY RANGE (id);"
        "CREATE TABLE one PARTITION OF held FOR VALUES FROM (0) TO (9); CREATE TABLE other (LIKE held);"
        "INSERT INTO held VALUES (1, 'a'); INSERT INTO other VALUES (1, 'b')"
    )
    execute(fresh_database, "CREATE TABLE held (id integer PRIMARY KEY, v text, mood text)")
    assert (await sync_from(source, fresh_database, CHOSEN)).complete
    attach = "ALTER TABLE held ATTACH PARTITION other FOR VALUES FROM (0) TO (9)"
    execute(source.database_url, f"ALTER TABLE held DETACH PARTITION one; {attach}")
    assert (await sync_from(source, fresh_database, CHOSEN)).complete
    assert query(fresh_database, ROWS) == query(source.database_url, ROWS) == [(1, "b", None)]


async def test_a_column_that_the_models_get_later(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(FILLED)
    execute(fresh_database, SCHEMA)
    narrow = MetaData()
    Table("held", narrow, Column("id", Integer, primary_key=True), Column("v", Text))
    assert (await copy_from(source, fresh_database, select_tables(narrow))).complete
    assert (await sync_from(source, fresh_database, select_tables(narrow))).complete
    assert (await sync_from(source, fresh_database, CHOSEN)).tables["held"].updated == 2
    assert query(fresh_database, ROWS) == query(source.database_url, ROWS)


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


async def test_a_source_that_was_restored_to_an_earlier_moment(fresh_database: str) -> None:
    """Its transactions have numbers that others had before."""
    with run_cluster(standbys=0) as cluster:
        node = cluster.primary
        node.execute(
            "CREATE TABLE held (id integer PRIMARY KEY, v text, mood text); INSERT INTO held VALUES (1, 'old')"
        )
        backup = node.data.with_name("backup")
        node.stop()
        await asyncio.to_thread(subprocess.run, ["cp", "-a", node.data, backup], check=True)
        node.start()
        source = Source(node.url(), "", node.url(), is_lite=False)
        execute(fresh_database, "CREATE TABLE held (id integer PRIMARY KEY, v text, mood text)")
        assert (await sync_from(source, fresh_database, CHOSEN)).complete
        node.execute("UPDATE held SET v = 'lost'")
        assert (await sync_from(source, fresh_database, CHOSEN)).tables["held"].updated == 1
        ((lost,),) = node.execute("SELECT xmin::text FROM held")
        node.stop()
        shutil.rmtree(node.data)
        backup.rename(node.data)
        (node.data / "recovery.signal").touch()
        with (node.data / "postgresql.auto.conf").open("a") as settings:
            settings.write("restore_command = 'false'\n")
        node.start()
        node.wait_until("SELECT NOT pg_is_in_recovery()")
        node.execute("UPDATE held SET v = 'new'")
        assert node.execute("SELECT xmin::text FROM held") == [(lost,)]
        assert (await sync_from(source, fresh_database, CHOSEN)).complete
        assert query(fresh_database, ROWS) == [(1, "new", None)]
