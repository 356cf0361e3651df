"""Rows of the source whose xmin does not tell one version from another: their changes are found all the same."""

from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.migration.tables.metadata import select_tables
from tests.fixtures.sources import MakeSource
from tests.migration.engine import execute, query
from tests.migration.two_ends import sync_from

METADATA = MetaData()
Table("told", METADATA, Column("id", Integer, primary_key=True), Column("name", Text))


async def test_rows_whose_xmin_is_always_0(make_source: MakeSource, fresh_database: str) -> None:
    """A foreign table shows 0 for each row. So does this view, which needs no other server."""
    chosen = select_tables(METADATA)
    source = make_source(
        "CREATE TABLE kept (id integer PRIMARY KEY, name text); INSERT INTO kept VALUES (1, 'Ann'), (2, 'Ben'); "
        "CREATE VIEW told AS SELECT id, name, '0'::xid AS xmin FROM kept"
    )
    execute(fresh_database, "CREATE TABLE told (id integer PRIMARY KEY, name text)")
    for name in ("Ann", "Anna"):
        execute(source.database_url, f"UPDATE kept SET name = '{name}' WHERE id = 1")
        assert (await sync_from(source, fresh_database, chosen)).complete
    assert query(fresh_database, "SELECT name FROM told WHERE id = 1") == [("Anna",)]
