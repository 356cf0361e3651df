"""Tables whose rows nothing tells apart: over a connection they go as a whole, over REST they are left out, by name."""

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.migration.tables.copy_table import select_tables
from app.migration.verify.verifier import VerifyOptions
from tests.fixtures.sources import Ends
from tests.migration.engine import copy_from, execute, query, verify_from
from tests.migration.two_ends import sync_from

METADATA = MetaData()
Table("log", METADATA, Column("a", Integer), Column("b", Text))
Table("notes", METADATA, Column("id", Integer, primary_key=True), Column("b", Text))
CHOSEN = select_tables(METADATA)
LOG = select_tables(METADATA, names=["log"])
SCHEMA = "CREATE TABLE log (a integer, b text {}); CREATE TABLE notes (id integer PRIMARY KEY, b text)"
PLAIN = SCHEMA.format("")
ROWS = (
    "INSERT INTO log VALUES (1, 'x'), (1, 'x'), (NULL, NULL), (NULL, ''), (2, 'y'); INSERT INTO notes VALUES (1, 'n')"
)
CONNECTED = pytest.mark.parametrize("ends", ["connection"], indirect=True)


def rows_of(url: str) -> list[str]:
    return [text for (text,) in query(url, "SELECT t::text FROM log t ORDER BY 1")]


@CONNECTED
async def test_copied_twice_and_verified(ends: Ends) -> None:
    ends.make(PLAIN, ROWS)
    first = await copy_from(ends.served, ends.target, CHOSEN)
    assert (first.complete, first.tables[0].inserted) == (True, 5)
    assert rows_of(ends.target) == rows_of(ends.source)
    verified = await verify_from(ends.served, ends.target, CHOSEN)
    assert (verified.clean, verified.tables[0].equal) == (True, 5)
    execute(
        ends.source, "INSERT INTO log VALUES (1, 'x'); DELETE FROM log WHERE b = ''; UPDATE log SET a = 3 WHERE a = 2"
    )
    again = (await copy_from(ends.served, ends.target, CHOSEN)).tables[0]
    assert (again.inserted, again.updated, again.unchanged, again.went) == (0, 2, 3, 0)
    assert rows_of(ends.target) == rows_of(ends.source)
    third = (await copy_from(ends.served, ends.target, CHOSEN)).tables[0]
    assert (third.inserted, third.updated, third.unchanged) == (0, 0, 5)


@CONNECTED
async def test_verify_counts_how_often_a_row_occurs(ends: Ends) -> None:
    ends.make(PLAIN, ROWS)
    await copy_from(ends.served, ends.target, CHOSEN)
    execute(ends.target, "DELETE FROM log WHERE ctid IN (SELECT ctid FROM log WHERE a = 1 LIMIT 1)")
    execute(ends.target, "UPDATE log SET b = NULL WHERE b = ''")
    report = await verify_from(ends.served, ends.target, CHOSEN)
    (log, _) = report.tables
    assert (report.clean, log.missing, log.extra, log.equal) == (False, 2, 1, 3)
    fixed = await verify_from(ends.served, ends.target, CHOSEN, options=VerifyOptions(fix=True, pause=0.01))
    assert (fixed.clean, fixed.tables[0].fixed) == (True, 2)
    assert rows_of(ends.target) == rows_of(ends.source)


@CONNECTED
async def test_synced(ends: Ends) -> None:
    ends.make(PLAIN, ROWS)
    await copy_from(ends.served, ends.target, CHOSEN)
    execute(
        ends.source, "INSERT INTO log VALUES (1, 'x'); DELETE FROM log WHERE b = ''; UPDATE log SET a = 3 WHERE a = 2"
    )
    execute(ends.source, "INSERT INTO log VALUES (9, 'z')")
    report = await sync_from(ends.served, ends.target, CHOSEN)
    log = report.tables["log"]
    assert (report.complete, log.inserted, log.updated, log.deleted) == (True, 1, 2, 0)
    assert rows_of(ends.target) == rows_of(ends.source)
    assert (await sync_from(ends.served, ends.target, CHOSEN)).tables["log"].changed == 0
