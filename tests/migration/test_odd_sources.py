"""Sources over a connection that show rows in their own way: views, tables without a key, hidden rows, odd names."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text
from sqlalchemy.engine import make_url

from app.errors import MigrationError
from app.migration.copy.copier import CopyOptions
from app.migration.copy.range_copier import RangeOptions
from app.migration.sync.options import SyncOptions
from app.migration.sync.syncer import Sync
from app.migration.tables.copy_table import name_of
from app.migration.tables.metadata import select_tables
from tests.fixtures.sources import Source
from tests.migration.engine import Told, copy_from, execute, query, row_texts, source_of, value, verify_from
from tests.support.postgres import PostgresServer

# Named as the engine's own statements name what they join.
_NAMES = ("v", "j", "k", "t", "s", "p", "page", "first", "last", "n", "q", "w", "number", "xid", "inserted")
METADATA = MetaData()
_THING = Table("thing", METADATA, Column("id", Integer, primary_key=True), *(Column(name, Text) for name in _NAMES))
_COLUMNS = ", ".join(f'"{name}" text' for name in _NAMES)
_SMALL = CopyOptions(ranges=RangeOptions(jobs=2, range_rows=4))


@pytest.fixture
def bare(databases: PostgresServer, fresh_database: str) -> Iterator[Source]:
    """A source that is empty still; the target has the table, whose rows may not be bad."""
    source = databases.create_database()
    execute(fresh_database, f"CREATE TABLE thing (id integer PRIMARY KEY, {_COLUMNS}, CHECK (v <> 'bad'))")
    yield Source(source, "", source, is_lite=False)
    databases.drop_database(source)


async def test_columns_named_as_the_statements_own_names(bare: Source, fresh_database: str) -> None:
    chosen = select_tables(METADATA)
    execute(bare.url, f"CREATE TABLE thing (id integer PRIMARY KEY, {_COLUMNS})")
    execute(
        bare.url,
        "INSERT INTO thing (id, v, j) SELECT n, CASE n WHEN 5 THEN 'bad' END, '0' FROM generate_series(1, 9) n",
    )
    report = await copy_from(bare, fresh_database, chosen, options=_SMALL)
    assert [(row.key, row.sqlstate) for row in report.tables[0].refused] == [(("5",), "23514")]
    execute(bare.url, "UPDATE thing SET v = 'good' WHERE id = 5; DELETE FROM thing WHERE id = 7")
    synced = await Sync(lambda: source_of(bare), fresh_database, chosen, Told(), SyncOptions()).run()
    assert (synced.tables["thing"].deleted, synced.tables["thing"].inserted) == (1, 1)
    assert row_texts(fresh_database, "thing") == row_texts(bare.url, "thing")
    assert (await verify_from(bare, fresh_database, chosen)).clean


async def test_a_key_that_is_there_several_times(bare: Source, fresh_database: str) -> None:
    """Where a range would end, there is nothing behind the key that ended the range before."""
    execute(bare.url, f"CREATE TABLE thing (id integer, {_COLUMNS})")
    execute(bare.url, "INSERT INTO thing (id) SELECT least(n, 4) FROM generate_series(1, 9) n")
    await copy_from(bare, fresh_database, select_tables(METADATA), options=_SMALL)
    assert query(fresh_database, "SELECT id FROM thing ORDER BY 1") == [(1,), (2,), (3,), (4,)]


@pytest.mark.parametrize("what", ["copy", "verify"])
async def test_a_row_without_a_key(bare: Source, fresh_database: str, what: str) -> None:
    execute(bare.url, f"CREATE TABLE rows (id integer, {_COLUMNS}); CREATE VIEW thing AS SELECT * FROM rows")
    execute(bare.url, "INSERT INTO rows (id) SELECT generate_series(1, 9)")
    assert (await copy_from(bare, fresh_database, select_tables(METADATA), options=_SMALL)).complete
    execute(bare.url, "INSERT INTO rows (v) VALUES ('without')")
    with pytest.raises(MigrationError, match="1 rows of thing in the source have NULL in their key") as stopped:
        await (copy_from if what == "copy" else verify_from)(bare, fresh_database, select_tables(METADATA))
    assert str(stopped.value.next_step).endswith(f"then: botdata {what}")


@pytest.mark.separate_server
async def test_rows_hidden_from_the_role_are_not_taken_for_deleted(bare: Source, fresh_database: str) -> None:
    execute(bare.url, f"CREATE TABLE thing (id integer PRIMARY KEY, {_COLUMNS})")
    execute(bare.url, "INSERT INTO thing (id) SELECT generate_series(1, 9)")
    await copy_from(bare, fresh_database, select_tables(METADATA), options=_SMALL)
    role = f"blinkered_{value(bare.url, 'SELECT current_database()')}"
    execute(bare.url, f'CREATE ROLE "{role}" LOGIN PASSWORD \'blinkered\'; GRANT SELECT ON thing TO "{role}"')
    try:
        execute(bare.url, "ALTER TABLE thing ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON thing USING (id < 3)")
        url = make_url(bare.url).set(username=role, password="blinkered").render_as_string(hide_password=False)
        hidden = Source(url, "", url, is_lite=False)
        with pytest.raises(MigrationError, match="affected by row-level security policy") as stopped:
            await Sync(lambda: source_of(hidden), fresh_database, select_tables(METADATA), Told(), SyncOptions()).run()
        assert "docs/rights.md" in str(stopped.value.next_step)
        assert value(fresh_database, "SELECT count(*) FROM thing") == 9
    finally:
        execute(bare.url, f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


def test_two_tables_of_one_name() -> None:
    metadata = MetaData()
    for schema in ("one", "two"):
        Table("thing", metadata, Column("id", Integer, primary_key=True), schema=schema)
    Table("thing", metadata, Column("id", Integer, primary_key=True))
    assert [name_of(one) for one in select_tables(metadata)] == ["one.thing", "thing", "two.thing"]
    assert [name_of(one) for one in select_tables(metadata, names=["thing", "two.thing"])] == ["thing", "two.thing"]
    Table("thing", metadata, Column("id", Integer, primary_key=True), schema="public")
    with pytest.raises(MigrationError, match="twice: thing"):
        select_tables(metadata)
