"""Rows that are loaded again, one by one, into tables in use: what refers to them is left as it is."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, Text

from app.errors import MigrationError
from app.migration.quarantine.replay import replay
from app.migration.sync.options import SyncOptions
from app.migration.sync.syncer import Sync
from app.migration.tables.metadata import select_tables
from app.migration.verify.options import VerifyOptions
from tests.fixtures.sources import Source
from tests.migration.engine import Told, copy_from, execute, query, row_texts, source_of, value, verify_from
from tests.support.postgres import PostgresServer

METADATA = MetaData()
_PARENT = Table("parent", METADATA, Column("id", Integer, primary_key=True), Column("said", Text))
_CHILD = Table(
    "child", METADATA, Column("id", Integer, primary_key=True), Column("parent", Integer, ForeignKey("parent.id"))
)
_TABLES = """
CREATE TABLE parent (id integer PRIMARY KEY, said text); CREATE TABLE child (id integer PRIMARY KEY, parent integer);
"""
# A trigger on updates: where it is not silent, a changed row is deleted and inserted; and references that follow that.
_IN_USE = """
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER touch BEFORE UPDATE ON parent FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE child ADD CONSTRAINT child_parent FOREIGN KEY (parent) REFERENCES parent ON DELETE CASCADE;
CREATE TABLE elsewhere (parent integer REFERENCES parent ON DELETE SET NULL);
INSERT INTO elsewhere SELECT id FROM parent;
"""
_ALWAYS = "ALTER TABLE parent ENABLE ALWAYS TRIGGER touch;"
_REFUSED = """
INSERT INTO botdata.quarantine (run_id, table_name, key, row_text, sqlstate, message)
VALUES (1, '{}', '{{3}}', '{}', '22000', '')
"""


@pytest.fixture
def served(databases: PostgresServer, fresh_database: str) -> Iterator[Source]:
    """A source that was copied into the target; rows in use refer to the target's."""
    source = databases.create_database()
    execute(source, _TABLES)
    execute(fresh_database, _TABLES)
    execute(
        source,
        "INSERT INTO parent SELECT n, 'said' FROM generate_series(1, 9) n; INSERT INTO child SELECT id, id FROM parent",
    )
    yield Source(source, "", source, is_lite=False)
    databases.drop_database(source)


@pytest.mark.parametrize("enabled", ["", _ALWAYS])
async def test_a_fix_leaves_the_rows_that_refer_to_a_row(served: Source, fresh_database: str, enabled: str) -> None:
    await copy_from(served, fresh_database, select_tables(METADATA))
    execute(fresh_database, _IN_USE + enabled + "UPDATE parent SET said = 'planted' WHERE id = 3")
    chosen = select_tables(METADATA, names=["parent"])
    report = await verify_from(served, fresh_database, chosen, options=VerifyOptions(fix=True, pause=0.01))
    assert (report.clean, report.tables[0].fixed) == (True, 1)
    assert row_texts(fresh_database, "child") == row_texts(served.url, "child")
    assert value(fresh_database, "SELECT count(parent) FROM elsewhere") == 9
    assert query(fresh_database, "SELECT conname, convalidated FROM pg_constraint WHERE contype = 'f' "
                 "AND connamespace = 'public'::regnamespace ORDER BY 1") == [
        ("child_parent", True), ("elsewhere_parent_fkey", True),
    ]  # fmt: skip


@pytest.mark.parametrize("enabled", ["", _ALWAYS])
async def test_a_replay_leaves_the_rows_that_refer_to_a_row(served: Source, fresh_database: str, enabled: str) -> None:
    await copy_from(served, fresh_database, select_tables(METADATA))
    execute(fresh_database, _IN_USE + enabled + _REFUSED.format("parent", '{"id": "3", "said": "edited"}'))
    assert (await replay(fresh_database, METADATA)).complete
    assert value(fresh_database, "SELECT said FROM parent WHERE id = 3") == "edited"
    assert row_texts(fresh_database, "child") == row_texts(served.url, "child")
    assert value(fresh_database, "SELECT count(parent) FROM elsewhere") == 9


async def test_a_replay_of_a_row_without_its_parent(served: Source, fresh_database: str) -> None:
    """A key is away while a parent is replayed, so a child without one goes in: it is told, and the key put back."""
    await copy_from(served, fresh_database, select_tables(METADATA))
    execute(fresh_database, _IN_USE + _ALWAYS + _REFUSED.format("parent", '{"id": "3", "said": "edited"}'))
    execute(fresh_database, _REFUSED.format("child", '{"id": "3", "parent": "99"}'))
    with pytest.raises(MigrationError, match="child_parent of child stays NOT VALID: 1 rows lack") as stopped:
        await replay(fresh_database, METADATA)
    assert "botdata sync" in str(stopped.value.next_step)
    assert value(fresh_database, "SELECT convalidated FROM pg_constraint WHERE conname = 'child_parent'") is False


async def test_a_way_back_leaves_the_rows_that_refer_to_a_row(served: Source, fresh_database: str) -> None:
    chosen = select_tables(METADATA, names=["parent"])
    execute(served.url, _IN_USE)
    execute(fresh_database, _IN_USE.partition("ALTER")[0])
    await copy_from(served, fresh_database, chosen)
    execute(fresh_database, "UPDATE parent SET said = 'of the bot' WHERE id = 3")
    options = SyncOptions(reverse=True, target_in_use=True)
    await Sync(lambda: source_of(served), fresh_database, chosen, Told(), options).run()
    assert value(served.url, "SELECT said FROM parent WHERE id = 3") == "of the bot"
    assert query(served.url, "SELECT count(*) FROM child UNION ALL SELECT count(parent) FROM elsewhere") == [(9,), (9,)]
