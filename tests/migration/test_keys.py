"""The key of a table, and the unique index at the target that an upsert goes by."""

import pytest
from sqlalchemy import Column, Index, Integer, MetaData, Table, Text, UniqueConstraint, create_engine
from sqlalchemy.dialects.postgresql import ARRAY

from app.errors import MigrationError
from app.migration.preflight.schemas.target_schema import examine_against
from app.migration.quarantine.quarantined_rows import holds_phone
from app.migration.quarantine.replay import replay
from app.migration.tables.copy_table import UniqueIndex, key_columns
from app.migration.tables.metadata import select_tables
from app.migration.verify.options import VerifyOptions
from tests.fixtures.sources import MakeSource
from tests.migration.engine import copy_from, execute, query, row_texts, value, verify_from
from tests.migration.two_ends import sync_from
from tests.preflight.looking import look

_JOIN = """
CREATE TABLE "Post" (id integer PRIMARY KEY, title text NOT NULL);
CREATE TABLE "_PostToTag" ("A" integer NOT NULL REFERENCES "Post" ON DELETE CASCADE, "B" integer NOT NULL, note text);
CREATE UNIQUE INDEX "_PostToTag_AB_unique" ON "_PostToTag" ("A", "B");
"""
_JOIN_ROWS = """
INSERT INTO "Post" VALUES (1, 'one'), (2, 'two'); INSERT INTO "_PostToTag" VALUES (1, 1), (1, 2), (2, 2);
"""
_PEOPLE = MetaData()
Table("people", _PEOPLE, Column("id", Integer, primary_key=True), Column("name", Text))
_PEOPLE_SOURCE = """
CREATE TABLE people (id integer PRIMARY KEY, name text); INSERT INTO people VALUES (1, 'Ann'), (2, 'Ben');
"""


def _reflected(url: str) -> MetaData:
    metadata = MetaData()
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    metadata.reflect(engine)
    engine.dispose()
    return metadata


def _bare_join() -> MetaData:
    """Models that say nothing of the unique index."""
    metadata = MetaData()
    Table("Post", metadata, Column("id", Integer, primary_key=True), Column("title", Text))
    Table("_PostToTag", metadata, Column("A", Integer), Column("B", Integer), Column("note", Text))
    return metadata


@pytest.mark.parametrize("bare", [False, True])
async def test_a_join_table_by_its_unique_index(make_source: MakeSource, fresh_database: str, bare: bool) -> None:
    source = make_source(_JOIN + _JOIN_ROWS)
    execute(fresh_database, _JOIN + """ALTER TABLE "_PostToTag" ADD CONSTRAINT quiet CHECK (note <> 'loud')""")
    metadata = _bare_join() if bare else _reflected(fresh_database)
    chosen = select_tables(metadata)
    assert (await copy_from(source, fresh_database, chosen)).complete
    execute(
        source.database_url,
        """
        UPDATE "_PostToTag" SET note = 'changed' WHERE "B" = 1; DELETE FROM "_PostToTag" WHERE ("A", "B") = (1, 2);
        INSERT INTO "_PostToTag" VALUES (2, 7, 'loud'), (2, 8, 'said');
        """,
    )
    synced = (await sync_from(source, fresh_database, chosen)).tables["_PostToTag"]
    assert (synced.inserted, synced.updated, synced.deleted) == (1, 1, 1)
    assert [(row.key, row.place) for row in synced.refused] == [(("2", "7"), "quiet")]
    execute(
        fresh_database, """ALTER TABLE "_PostToTag" DROP CONSTRAINT quiet; DELETE FROM "_PostToTag" WHERE "B" = 8"""
    )
    assert (await replay(fresh_database, metadata)).complete
    fixed = await verify_from(source, fresh_database, chosen, options=VerifyOptions(fix=True, pause=0.01))
    assert fixed.clean
    assert row_texts(fresh_database, "_PostToTag") == row_texts(source.database_url, "_PostToTag")


@pytest.mark.parametrize(
    ("columns", "said", "do"),
    [
        ("id integer NOT NULL, name text", "no unique index", 'CREATE UNIQUE INDEX ON "public"."people" ("id")'),
        ("id integer NOT NULL, name text, UNIQUE (id, name)", "no unique index", "CREATE UNIQUE INDEX"),
        ("id integer PRIMARY KEY DEFERRABLE, name text", "people_pkey.* is deferrable", 'PRIMARY KEY ("id")'),
        (
            'id integer UNIQUE, name text, CONSTRAINT "Odd" UNIQUE (id) DEFERRABLE INITIALLY DEFERRED',
            "Odd.* is deferrable",
            'ADD CONSTRAINT "Odd" UNIQUE ("id")',
        ),
    ],
)
async def test_it_stops_before_anything_is_written(
    make_source: MakeSource, fresh_database: str, columns: str, said: str, do: str
) -> None:
    source = make_source(_PEOPLE_SOURCE)
    execute(fresh_database, f"CREATE TABLE people ({columns})")
    chosen = select_tables(_PEOPLE)
    with pytest.raises(MigrationError, match=said) as stopped:
        await copy_from(source, fresh_database, chosen)
    assert do in str(stopped.value.next_step)
    assert value(fresh_database, "SELECT count(*) FROM people") == 0
    assert value(fresh_database, "SELECT to_regnamespace('botdata') IS NULL")
    assert not (await verify_from(source, fresh_database, chosen)).clean
    statement = str(stopped.value.next_step).removesuffix("; then: botdata copy")
    execute(fresh_database, statement)
    assert (await copy_from(source, fresh_database, chosen)).complete
    execute(source.database_url, "UPDATE people SET name = 'Changed' WHERE id = 2")
    assert (await sync_from(source, fresh_database, chosen)).complete
    assert query(fresh_database, "SELECT name FROM people ORDER BY id") == [("Ann",), ("Changed",)]


@pytest.mark.parametrize("only", ["WHERE name IS NOT NULL", ""])
async def test_an_index_of_some_rows_or_of_expressions_is_no_key(
    make_source: MakeSource, fresh_database: str, only: str
) -> None:
    index = f"(id) {only}" if only else "((id + 0))"
    execute(fresh_database, f"CREATE TABLE people (id integer, name text); CREATE UNIQUE INDEX ON people {index}")
    with pytest.raises(MigrationError, match="no unique index"):
        await copy_from(make_source(_PEOPLE_SOURCE), fresh_database, select_tables(_PEOPLE))


def test_the_key_of_a_model() -> None:
    def table(*items: Column[object] | UniqueConstraint | Index, name: str = "one") -> Table:
        return Table(name, MetaData(), Column("a", Integer, nullable=False), Column("b", Text), *items)

    c = Column("c", Integer, nullable=False, info={"phone": True})
    assert key_columns(table(Column("id", Integer, primary_key=True), UniqueConstraint("a"))) == ("id",)
    assert key_columns(table(c._copy(), UniqueConstraint("c", "a"), UniqueConstraint("b"))) == ("c", "a")
    assert key_columns(table(c._copy(), UniqueConstraint("a", "c"), Index("i", "c", unique=True))) == ("c",)
    assert key_columns(table(UniqueConstraint("a", deferrable=True))) == ()
    whole = table()
    partial = Index("i", whole.c.a, unique=True, postgresql_where=whole.c.b.is_(None))
    assert (partial.name, key_columns(whole)) == ("i", ())
    found = [
        UniqueIndex("1", True, None, ("b",), False),
        UniqueIndex("2", False, "u", ("a",), True),
        UniqueIndex("3", True, None, ("elsewhere",), True),
    ]
    assert key_columns(table(), found) == ()
    assert key_columns(table(), [*found, UniqueIndex("4", True, "u", ("a",), True)]) == ("a",)
    metadata = MetaData()
    Table("keyed", metadata, Column("a", Integer, nullable=False, unique=True), c._copy())
    Table("unknown", metadata, Column("a", Integer), c._copy())
    assert (holds_phone(metadata, "keyed"), holds_phone(metadata, "unknown")) == (False, True)


def test_a_column_that_the_models_know_by_another_key_is_named() -> None:
    metadata = MetaData()
    Table("people", metadata, Column("id", Integer, primary_key=True), Column("name", Text, key="called"))
    with pytest.raises(MigrationError, match=r"the models know people\.name by another key, called") as stopped:
        select_tables(metadata)
    assert str(stopped.value.next_step) == "take the column's key= out of the models, then: the same command"


@pytest.mark.parametrize("make_source", ["page server"], indirect=True)
async def test_a_row_without_a_key_over_rest(make_source: MakeSource, fresh_database: str) -> None:
    """Where it comes in the first page: no later one would show it, and the counts would not agree."""
    rows = "CREATE TABLE kept (id integer, name text); CREATE VIEW people AS SELECT * FROM kept; "
    source = make_source(f"{rows} INSERT INTO kept SELECT n, 'Ann' FROM generate_series(1, 2) n")
    execute(fresh_database, "CREATE TABLE people (id integer PRIMARY KEY, name text)")
    chosen = select_tables(_PEOPLE)
    assert (await copy_from(source, fresh_database, chosen)).complete
    execute(source.database_url, "INSERT INTO kept VALUES (NULL, 'Ben')")
    for step in (copy_from, verify_from, sync_from):
        with pytest.raises(MigrationError, match=r"rows of people in the source have NULL in their key \(id\)"):
            await step(source, fresh_database, chosen)
    report = await look(source, fresh_database, tables=chosen, examine=examine_against(chosen))
    assert "rows of people in the source have NULL in their key (id)" in " ".join(one.message for one in report.errors)


async def test_a_key_that_is_an_array(make_source: MakeSource, fresh_database: str) -> None:
    metadata = MetaData()
    Table("paths", metadata, Column("path", ARRAY(Integer), primary_key=True), Column("name", Text))
    chosen = select_tables(metadata)
    table = "CREATE TABLE paths (path integer[] PRIMARY KEY, name text); "
    source = make_source(f"{table} INSERT INTO paths SELECT ARRAY[n, n + 1], 'name ' || n FROM generate_series(1, 9) n")
    execute(fresh_database, table)
    assert (await copy_from(source, fresh_database, chosen)).complete
    assert (await sync_from(source, fresh_database, chosen)).complete
    execute(
        source.database_url,
        "UPDATE paths SET name = 'changed' WHERE path[1] IN (2, 3); DELETE FROM paths WHERE path[1] IN (4, 5)",
    )
    assert not (await verify_from(source, fresh_database, chosen)).clean
    assert (await sync_from(source, fresh_database, chosen)).complete
    execute(fresh_database, "UPDATE paths SET name = 'back' WHERE path[1] < 3; DELETE FROM paths WHERE path[1] > 8")
    assert (await sync_from(source, fresh_database, chosen, reverse=True, target_in_use=True)).complete
    assert (await verify_from(source, fresh_database, chosen)).clean
