"""Rows of the source that share a key: one goes in, and one that differs from it is in quarantine."""

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.errors import MigrationError
from app.migration.preflight.schemas.target_schema import examine_against
from app.migration.tables.metadata import select_tables
from tests.fixtures.sources import MakeSource
from tests.migration.engine import copy_from, execute, query
from tests.migration.two_ends import sync_from
from tests.preflight.looking import codes, look
from tests.support.faults import Request
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

METADATA = MetaData()
Table("settings", METADATA, Column("name", Text, primary_key=True), Column("value", Text))
Table(
    "user_roles", METADATA, Column("user_id", Integer, primary_key=True), Column("role_id", Integer, primary_key=True)
)
_SOURCE = """
CREATE TABLE user_roles (user_id integer NOT NULL, role_id integer NOT NULL);
INSERT INTO user_roles VALUES (1, 1), (1, 2), (1, 2), (2, 1);
CREATE TABLE settings (name text NOT NULL, value text);
INSERT INTO settings VALUES ('tax', '19'), ('tax', '20'), ('currency', 'EUR');
"""
_TARGET = """
CREATE TABLE user_roles (user_id integer NOT NULL, role_id integer NOT NULL, PRIMARY KEY (user_id, role_id));
CREATE TABLE settings (name text PRIMARY KEY, value text);
"""
_CHOSEN = select_tables(METADATA)


async def test_preflight_names_them(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(_SOURCE)
    execute(fresh_database, _TARGET)
    report = await look(source, fresh_database, tables=_CHOSEN, examine=examine_against(_CHOSEN))
    assert codes(report, "error") == ["source-duplicates settings", "source-duplicates user_roles"]
    of_settings, of_roles = (one.message for one in report.errors)
    assert "1 keys (name) are there more than once: (tax): 2 rows;" in of_settings
    assert "1 keys (user_id, role_id) are there more than once: (1, 2): 2 rows;" in of_roles
    execute(source.database_url, "CREATE UNIQUE INDEX ON settings (name, value)")
    again = await look(source, fresh_database, "settings", tables=_CHOSEN, examine=examine_against(_CHOSEN))
    assert "source-duplicates settings" in codes(again, "error")


async def test_those_that_a_page_leaves_out_are_counted(make_source: MakeSource, fresh_database: str) -> None:
    """Over REST a page has four rows here, and what comes after it has another key."""
    source = make_source(
        _SOURCE + "DELETE FROM settings; INSERT INTO settings SELECT 'same', n FROM generate_series(1, 6) n"
    )
    execute(fresh_database, _TARGET)
    chosen = select_tables(METADATA, names=["settings"])
    (found,) = (await look(source, fresh_database, tables=chosen, examine=examine_against(chosen))).errors
    over_rest = "(same): 4 rows; 2 rows share the key (name) of others"
    assert (over_rest if source.url != source.database_url else "(same): 6 rows") in found.message


async def test_a_row_that_differs_is_in_quarantine(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(_SOURCE)
    execute(fresh_database, _TARGET)
    for _ in range(2):
        report = await copy_from(source, fresh_database, _CHOSEN)
        refused = [(one.table, row.key, row.sqlstate) for one in report.tables for row in one.refused]
        assert refused == [("settings", ("tax",), "21000")]
        assert not report.complete
        held = query(fresh_database, "SELECT value FROM settings WHERE name = 'tax'")
        kept = query(fresh_database, "SELECT row_text ->> 'value' FROM botdata.quarantine")
        assert sorted(held + kept) == [("19",), ("20",)]
    with pytest.raises(MigrationError, match="several rows have one key, such as"):
        await sync_from(source, fresh_database, _CHOSEN, until_clean=True, most_rounds=5)
    execute(
        source.database_url,
        "DELETE FROM settings WHERE value = '19'; DELETE FROM user_roles WHERE role_id = 2; "
        "INSERT INTO user_roles VALUES (1, 2)",
    )
    assert (await sync_from(source, fresh_database, _CHOSEN, until_clean=True, most_rounds=5)).complete
    assert query(fresh_database, "SELECT value FROM settings WHERE name = 'tax'") == [("20",)]


async def test_rows_that_move_while_preflight_reads_are_none(databases: PostgresServer, fresh_database: str) -> None:
    database = databases.create_database()
    moved: list[str] = []

    def hook(request: Request) -> None:
        if request.parameter("name") == "gt.d" and not moved:
            moved.append("e")
            execute(database, "DELETE FROM settings WHERE name = 'e'; INSERT INTO settings VALUES ('aa', 'behind')")

    try:
        execute(database, "CREATE TABLE settings (name text NOT NULL, value text)")
        execute(database, "INSERT INTO settings SELECT unnest('{a,b,c,d,e,f}'::text[])")
        execute(fresh_database, _TARGET)
        chosen = select_tables(METADATA, names=["settings"])
        with PageServer(database, max_rows=4, hook=hook) as pages:
            report = await look(pages, fresh_database, tables=chosen, examine=examine_against(chosen))
    finally:
        databases.drop_database(database)
    assert (moved, codes(report, "error")) == (["e"], [])
