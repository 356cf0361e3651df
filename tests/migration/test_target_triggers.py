"""Triggers and rules of the target that are not silent, and keep or skip rows: reported, and never an endless sync."""

from collections.abc import Sequence

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.errors import MigrationError
from app.migration.sync.forward import ForwardSync
from app.migration.tables.copy_table import CopyTable
from app.migration.tables.metadata import select_tables
from app.next_step import Command, NextStep
from tests.fixtures.sources import MakeSource
from tests.migration.engine import Told, copy_from, execute, query, row_texts
from tests.migration.two_ends import sync_from

METADATA = MetaData()
Table("people", METADATA, Column("id", Integer, primary_key=True), Column("name", Text))
_TABLE = "CREATE TABLE people (id integer PRIMARY KEY, name text);"
_ROWS = "INSERT INTO people VALUES (1, 'Ann'), (2, 'Ben'), (3, 'Cid');"
_CHOSEN = select_tables(METADATA)
_KEEP = """
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER keep BEFORE DELETE ON people FOR EACH ROW EXECUTE FUNCTION keep();
ALTER TABLE people ENABLE ALWAYS TRIGGER keep;
"""
_KEEP_BY_RULE = (
    "CREATE RULE keep AS ON DELETE TO people DO INSTEAD NOTHING; ALTER TABLE people ENABLE ALWAYS RULE keep;"
)
_TOUCH = """
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.name := ''touched''; RETURN new; END';
CREATE TRIGGER touch BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE people ENABLE ALWAYS TRIGGER touch;
"""


@pytest.mark.parametrize(("keeps", "named"), [(_KEEP, "trigger keep"), (_KEEP_BY_RULE, "rule keep")])
async def test_deleted_rows_that_the_target_keeps(
    make_source: MakeSource, fresh_database: str, keeps: str, named: str
) -> None:
    source = make_source(_TABLE + _ROWS)
    execute(fresh_database, _TABLE + keeps)
    assert (await copy_from(source, fresh_database, _CHOSEN)).complete
    execute(source.database_url, "DELETE FROM people WHERE id < 3")
    told = Told()
    report = await sync_from(source, fresh_database, _CHOSEN, told, until_clean=True, most_rounds=5)
    people = report.tables["people"]
    assert (report.complete, people.deleted, people.unsettled, report.rounds) == (False, 0, 2, 2)
    (notice,) = [one for one in told.notices if "keeps them" in one]
    assert notice == f"people: 2 rows that the source does not have were deleted, and the target keeps them ({named})"
    execute(fresh_database, f"DROP {'RULE' if 'rule' in named else 'TRIGGER'} keep ON people")
    again = await sync_from(source, fresh_database, _CHOSEN, until_clean=True, most_rounds=5)
    assert (again.complete, again.tables["people"].deleted) == (True, 2)
    assert row_texts(fresh_database, "people") == row_texts(source.database_url, "people")


async def test_changed_rows_that_cannot_be_replaced(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(_TABLE + _ROWS)
    execute(fresh_database, _TABLE + _TOUCH + _KEEP)
    assert (await copy_from(source, fresh_database, _CHOSEN)).complete
    execute(source.database_url, "UPDATE people SET name = 'Changed' WHERE id = 2")
    report = await sync_from(source, fresh_database, _CHOSEN, until_clean=True, most_rounds=5)
    assert (report.complete, report.tables["people"].unsettled) == (False, 1)
    execute(fresh_database, "DROP TRIGGER keep ON people")
    assert (await sync_from(source, fresh_database, _CHOSEN)).complete
    assert query(fresh_database, "SELECT name FROM people WHERE id = 2") == [("Changed",)]


async def test_rows_that_a_trigger_skips(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(_TABLE + _ROWS)
    skip = _KEEP.replace("BEFORE DELETE", "BEFORE INSERT").replace(
        "RETURN NULL", "IF new.id = 2 THEN RETURN NULL; END IF; RETURN new"
    )
    execute(fresh_database, _TABLE + skip)
    report = await sync_from(source, fresh_database, _CHOSEN, until_clean=True, most_rounds=5)
    people = report.tables["people"]
    assert (report.complete, people.inserted, people.unsettled) == (False, 2, 1)


async def test_rows_that_a_trigger_adds_to_a_table_that_is_done(make_source: MakeSource, fresh_database: str) -> None:
    both = _TABLE + "CREATE TABLE audit (id integer PRIMARY KEY, note text);"
    source = make_source(both + _ROWS)
    execute(
        fresh_database,
        both
        + """
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql
            AS 'BEGIN INSERT INTO audit VALUES (new.id, new.name); RETURN NULL; END';
        CREATE TRIGGER note AFTER INSERT ON people FOR EACH ROW EXECUTE FUNCTION note();
        ALTER TABLE people ENABLE ALWAYS TRIGGER note;
        """,
    )
    metadata = MetaData()
    Table("audit", metadata, Column("id", Integer, primary_key=True), Column("note", Text))
    METADATA.tables["people"].to_metadata(metadata)
    chosen = select_tables(metadata)
    copied = await copy_from(source, fresh_database, chosen)
    audit, _ = copied.tables
    assert (copied.complete, audit.differ) == (False, 3)
    execute(source.database_url, "INSERT INTO people VALUES (4, 'Dot')")
    told = Told()
    synced = await sync_from(source, fresh_database, chosen, told)
    assert (synced.complete, synced.tables["audit"].deleted, synced.tables["audit"].unsettled) == (False, 3, 1)
    assert "audit: 1 rows more since trigger note of people ran" in told.notices
    assert (await sync_from(source, fresh_database, chosen)).complete
    assert row_texts(fresh_database, "audit") == []


async def test_a_trigger_on_the_statement_alone_sees_no_update(make_source: MakeSource, fresh_database: str) -> None:
    """As for one on each row, a changed row is deleted and inserted."""
    source = make_source(_TABLE + _ROWS)
    execute(
        fresh_database,
        _TABLE
        + """
        CREATE TABLE seen (said text);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql
            AS 'BEGIN INSERT INTO seen VALUES (TG_OP); RETURN NULL; END';
        CREATE TRIGGER note AFTER UPDATE ON people FOR EACH STATEMENT EXECUTE FUNCTION note();
        ALTER TABLE people ENABLE ALWAYS TRIGGER note;
        """,
    )
    assert (await copy_from(source, fresh_database, _CHOSEN)).complete
    execute(source.database_url, "UPDATE people SET name = 'Changed' WHERE id = 2")
    assert (await sync_from(source, fresh_database, _CHOSEN)).complete
    assert row_texts(fresh_database, "people") == row_texts(source.database_url, "people")
    assert query(fresh_database, "SELECT * FROM seen") == []


async def test_a_partition_that_is_moved_alone_has_its_parents_triggers(
    make_source: MakeSource, fresh_database: str
) -> None:
    metadata = MetaData()
    Table("part", metadata, Column("id", Integer, primary_key=True), Column("name", Text))
    chosen = select_tables(metadata)
    source = make_source("CREATE TABLE part (id integer PRIMARY KEY, name text); INSERT INTO part VALUES (1, 'Ann')")
    execute(
        fresh_database,
        """
        CREATE TABLE whole (id integer PRIMARY KEY, name text) PARTITION BY RANGE (id);
        CREATE TABLE part PARTITION OF whole FOR VALUES FROM (0) TO (10);
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.name := ''x''; RETURN new; END';
        CREATE TRIGGER touch BEFORE INSERT ON whole FOR EACH ROW EXECUTE FUNCTION touch();
        ALTER TABLE whole ENABLE ALWAYS TRIGGER touch; ALTER TABLE part ENABLE ALWAYS TRIGGER touch;
        """,
    )
    for _ in range(2):  # a second copy, which writes nothing new, is compared as the first one was
        report = await copy_from(source, fresh_database, chosen)
        assert (report.complete, report.tables[0].differ) == (False, 1)


async def test_a_comparison_that_stops_is_the_copys(
    make_source: MakeSource, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source(_TABLE + _ROWS)
    execute(fresh_database, _TABLE + _KEEP)

    async def lost(*given: object) -> None:
        raise MigrationError("the source does not answer", step="verify", next_step=NextStep(Command("verify")))

    with monkeypatch.context() as patched:
        patched.setattr("app.migration.copy.after_copy.verify", lost)
        with pytest.raises(MigrationError) as stopped:
            await copy_from(source, fresh_database, _CHOSEN)
    assert (stopped.value.step, str(stopped.value.next_step)) == ("copy", "botdata copy, which compares them again")
    again = await copy_from(source, fresh_database, _CHOSEN)
    assert (again.resumed, again.complete) == (True, True)


async def test_what_a_mirror_writes_during_a_round_is_not_beside_it(
    make_source: MakeSource, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source(_TABLE + _ROWS)
    execute(fresh_database, _TABLE + _KEEP)
    assert (await copy_from(source, fresh_database, _CHOSEN)).complete
    counting = ForwardSync._begin

    async def mirrored(self: ForwardSync, tables: Sequence[CopyTable]) -> None:
        await counting(self, tables)
        for url in (source.database_url, fresh_database):
            execute(url, "INSERT INTO people VALUES (9, 'Zed')")

    monkeypatch.setattr(ForwardSync, "_begin", mirrored)
    report = await sync_from(source, fresh_database, _CHOSEN)
    assert (report.complete, report.tables["people"].unsettled) == (True, 0)
