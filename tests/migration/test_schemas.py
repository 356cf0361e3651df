"""Tables of one name in two schemas: each command writes to the one that is meant, and names it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.common.schemas import Schemas
from app.migration.target.target_session import open_target
from app.state import tool_schema
from app.state.versions import VERSIONS
from tests.cli.command import Command, Outcome
from tests.migration.engine import execute, query, value
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

METADATA = MetaData()
for _schema in (None, "billing"):
    Table(
        "invoices", METADATA, Column("id", Integer, primary_key=True), Column("amount", Integer), schema=_schema
    )  # fmt: skip
Table("payments", METADATA, Column("id", Integer, primary_key=True), Column("note", Text), schema="billing")

_DDL = """
CREATE SCHEMA billing;
CREATE TABLE invoices (id integer PRIMARY KEY, amount integer);
CREATE TABLE billing.invoices (LIKE invoices INCLUDING ALL);
CREATE TABLE billing.payments (id integer PRIMARY KEY, note text);
"""
_ROWS = """
INSERT INTO invoices VALUES (1, 10), (2, -20), (3, 30);
INSERT INTO billing.invoices VALUES (1, 100), (2, 200), (3, -300), (4, 400);
INSERT INTO billing.payments VALUES (1, 'cash'), (2, NULL);
"""
_POSITIVE = """
ALTER TABLE invoices ADD CONSTRAINT positive CHECK (amount > 0);
ALTER TABLE billing.invoices ADD CONSTRAINT positive CHECK (amount > 0);
ALTER TABLE billing.payments ADD CONSTRAINT noted CHECK (note IS NOT NULL)
"""
_LOOSE = """
ALTER TABLE invoices DROP CONSTRAINT positive; ALTER TABLE billing.invoices DROP CONSTRAINT positive;
ALTER TABLE billing.payments DROP CONSTRAINT noted
"""
_TABLES = ("invoices", "billing.invoices", "billing.payments")


@dataclass
class Move:
    """A source and a target with both schemas, and the command line between them."""

    source: str
    target: str
    settings: dict[str, str]
    command: Command

    def __call__(self, line: str, *, code: int = 0, **settings: str) -> Outcome:
        """Run a command; its exit code is as expected."""
        outcome = self.command(*line.split(), **self.settings, **settings)
        assert outcome.code == code, f"{line}\n{outcome.out}\n{outcome.err}"
        return outcome

    def on_tables(self, line: str, *, code: int = 0, **settings: str) -> Any:
        """Run one that takes --metadata; its JSON."""
        metadata = "tests.migration.test_schemas:METADATA"
        return json.loads(self(f"{line} --metadata {metadata} --json", code=code, **settings).out)

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """The target's rows."""
        return query(self.target, f"SELECT * FROM {table} ORDER BY 1")

    def equal(self, *tables: str) -> bool:
        """Whether tables are the same on both sides."""
        return all(self.rows(table) == query(self.source, f"SELECT * FROM {table} ORDER BY 1") for table in tables)


@pytest.fixture(params=["page server", "connection"])
def move(
    request: pytest.FixtureRequest, databases: PostgresServer, fresh_database: str, command: Command
) -> Iterator[Move]:
    source = databases.create_database()
    try:
        execute(source, _DDL + _ROWS)
        execute(fresh_database, _DDL)
        settings = {"DATABASE_URL": fresh_database}
        if request.param == "connection":
            yield Move(source, fresh_database, settings | {"MIGRATION_SOURCE": source}, command)
        else:
            with PageServer(source, schemas=("public", "billing")) as pages:
                settings |= {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key}
                yield Move(source, fresh_database, settings, command)
    finally:
        databases.drop_database(source)


def test_both_are_moved(move: Move) -> None:
    copied = move.on_tables("copy")
    assert {one["table"]: one["inserted"] for one in copied["tables"]} == dict(zip(_TABLES, (3, 4, 2), strict=True))
    assert move.equal(*_TABLES)
    assert move.on_tables("verify")["ok"]
    status = json.loads(move("status --json").out)
    assert {one["table"] for one in status["tables"]} == set(_TABLES)
    assert "billing.invoices" in move("status").out
    execute(move.source, "UPDATE billing.invoices SET amount = 101 WHERE id = 1; DELETE FROM invoices WHERE id = 1")
    synced = move.on_tables("sync")
    changed = {one["table"]: (one["inserted"], one["updated"], one["deleted"]) for one in synced["tables"]}
    assert changed == {"invoices": (0, 0, 1), "billing.invoices": (0, 1, 0), "billing.payments": (0, 0, 0)}
    assert move.equal(*_TABLES)


@pytest.mark.parametrize("named", ["billing.invoices", "billing.invoices,payments"])
def test_only_the_one_that_is_named(move: Move, named: str) -> None:
    execute(move.target, "INSERT INTO invoices VALUES (1, 7), (9, 9)")
    twin = [(1, 7), (9, 9)]
    copied = move.on_tables(f"copy --tables {named}")
    assert "invoices" not in {one["table"] for one in copied["tables"]}
    assert (move.equal("billing.invoices"), move.rows("invoices")) == (True, twin)
    execute(
        move.source, "UPDATE billing.invoices SET amount = 5 WHERE id = 2; DELETE FROM billing.invoices WHERE id = 4"
    )
    move.on_tables(f"sync --tables {named}")
    assert (move.equal("billing.invoices"), move.rows("invoices")) == (True, twin)
    execute(
        move.target, "UPDATE billing.invoices SET amount = 6 WHERE id = 2; DELETE FROM billing.invoices WHERE id = 1"
    )
    found = move.on_tables(f"verify --tables {named}", code=1)["tables"]
    assert {one["table"] for one in found if one["differences"]} == {"billing.invoices"}
    move.on_tables(f"verify --fix --tables {named}")
    assert (move.equal("billing.invoices"), move.rows("invoices")) == (True, twin)
    assert move.on_tables(f"verify --tables {named}")["ok"]


def test_the_way_back(move: Move) -> None:
    move.on_tables("copy")
    before = query(move.source, "SELECT * FROM invoices ORDER BY 1")
    execute(
        move.target,
        "UPDATE billing.invoices SET amount = 1 WHERE id = 1; DELETE FROM billing.invoices WHERE id = 2; "
        "INSERT INTO billing.invoices VALUES (7, 7); UPDATE invoices SET amount = 1; DELETE FROM invoices WHERE id > 2",
    )
    move.on_tables(
        "sync --reverse --accept source-triggers-unseen --tables billing.invoices", USE_REPOSITORY_PATTERN="true"
    )
    assert move.equal("billing.invoices")
    assert query(move.source, "SELECT * FROM invoices ORDER BY 1") == before


def test_the_looks_and_the_whole_move(move: Move) -> None:
    """A key of one name on each of them leads to the other table of its name, or out of those that are moved."""
    execute(move.target, "ALTER TABLE billing.invoices ADD CONSTRAINT of FOREIGN KEY (id) REFERENCES public.invoices")
    looked = move.on_tables("preflight --tables billing.invoices")
    assert [one["target_rows"] for one in looked["tables"]] == [0]
    (found,) = [one for one in looked["findings"] if one["code"] == "target-parent-not-moved"]
    assert found["message"] == (
        "of of the target's billing.invoices leads to public.invoices, which is not among the tables that are moved: "
        "4 rows would lack their row there"
    )
    assert {one["table"]: one["source_rows"] for one in move.on_tables("preflight")["tables"]} == {
        "invoices": 3, "billing.invoices": 4, "billing.payments": 2,
    }  # fmt: skip
    tried = move.on_tables("copy --dry-run")
    assert {one["table"] for one in tried["tables"]} == set(_TABLES)
    moved = move.on_tables("migrate", code=1)
    (broken,) = moved["copy"]["broken_foreign_keys"]
    assert (broken["table"], broken["references"], broken["moved"]) == ("billing.invoices", "invoices", True)
    assert query(move.target, broken["query"]) == [(4, 400)]
    assert (moved["verify"]["ok"], moved["next"]) == (True, moved["copy"]["next"])
    assert moved["next"].startswith("at the source, give those rows the row that they refer to")
    execute(move.source, "INSERT INTO invoices VALUES (4, 40)")
    move.on_tables("sync")
    assert move.on_tables("migrate")["ok"]
    assert move.equal(*_TABLES)
    assert json.loads(move("status --json").out)["foreign_keys"] == []


def test_the_way_back_of_both(move: Move) -> None:
    move.on_tables("copy")
    execute(
        move.target,
        "UPDATE billing.invoices SET amount = 1 WHERE id = 1; DELETE FROM invoices WHERE id = 1; "
        "INSERT INTO invoices VALUES (8, 8); INSERT INTO billing.invoices VALUES (9, 9)",
    )
    back = move.on_tables("sync --reverse --accept source-triggers-unseen", USE_REPOSITORY_PATTERN="true")
    changed = {one["table"]: (one["inserted"], one["updated"], one["deleted"]) for one in back["tables"]}
    assert changed == {"invoices": (1, 0, 1), "billing.invoices": (1, 1, 0), "billing.payments": (0, 0, 0)}
    assert move.equal(*_TABLES)


def test_refused_rows_in_a_file(move: Move, tmp_path: Path) -> None:
    execute(move.target, _POSITIVE)
    move.on_tables("copy", code=1)
    file = tmp_path / "rows.json"
    assert move.on_tables(f"quarantine export {file} --tables billing.invoices")["rows"] == 1
    file.write_text(file.read_text().replace('"amount": "-300"', '"amount": "300"'))
    move(f"quarantine import {file}")
    assert move.on_tables("quarantine replay", code=1)["loaded"] == 1
    assert query(move.target, "SELECT amount FROM billing.invoices WHERE id = 3") == [(300,)]
    assert move.rows("invoices") == [(1, 10), (3, 30)]


def test_refused_rows_of_both(move: Move) -> None:
    execute(move.target, _POSITIVE)
    move.on_tables("copy", code=1)
    listed = move.on_tables("quarantine list")
    assert sorted((one["table"], one["key"]) for one in listed["rows"]) == [
        ("billing.invoices", ["3"]), ("billing.payments", ["2"]), ("invoices", ["2"]),
    ]  # fmt: skip
    number = {one["table"]: one["number"] for one in listed["rows"]}
    for table, amount in (("invoices", "-20"), ("billing.invoices", "-300")):
        shown = json.loads(move(f"quarantine show {number[table]} --json").out)
        assert (shown["table"], shown["row"]["amount"]) == (table, amount)
        one = move.on_tables(f"quarantine list --tables {table}")["rows"]
        assert [row["number"] for row in one] == [number[table]]
    execute(move.target, _LOOSE)
    replayed = move.on_tables("quarantine replay --tables billing.invoices")
    assert (replayed["loaded"], replayed["remaining"], move.equal("billing.invoices")) == (1, 2, True)
    assert move.rows("invoices") == [(1, 10), (3, 30)]
    # A bare name is public's table where public has it, and else the one that another schema has.
    assert move.on_tables("quarantine list --tables payments")["rows"][0]["number"] == number["billing.payments"]
    move.on_tables("quarantine replay --tables payments")
    assert (move.equal("billing.payments"), move.rows("invoices")) == (True, [(1, 10), (3, 30)])
    move.on_tables("quarantine replay --tables invoices")
    assert move.equal(*_TABLES)
    assert move.on_tables("verify")["ok"]


def test_a_schema_that_the_api_does_not_expose(move: Move) -> None:
    if "MIGRATION_SOURCE" in move.settings:
        pytest.skip("only an API exposes schemas")
    with PageServer(move.source) as pages:
        hidden = {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key}
        move.settings = move.settings | hidden
        outcome = move("copy --metadata tests.migration.test_schemas:METADATA --tables billing.invoices", code=1)
    assert "billing" in outcome.err.replace("billing.invoices", "")
    assert move.rows("billing.invoices") == []


_OLD = """
INSERT INTO botdata.runs (command, source) VALUES ('copy', 'somewhere');
INSERT INTO botdata.checkpoints (run_id, table_name, source_before) SELECT 1, name, 1 FROM unnest(%(names)s) name;
INSERT INTO botdata.writes SELECT 1, name, '7' FROM unnest(%(names)s) name;
INSERT INTO botdata.quarantine (run_id, table_name, key, row_text, sqlstate, message)
    SELECT 1, name, '{1}', '{}', '22001', '' FROM unnest(%(names)s) name;
INSERT INTO botdata.row_versions SELECT name, '{1}', '7', '7' FROM unnest(%(names)s) name;
"""


async def test_the_tools_own_tables_of_before(fresh_database: str) -> None:
    """A table that only another schema has is renamed; one of public, one of two schemas, and one that is gone, not."""
    execute(fresh_database, f"{_DDL} CREATE SCHEMA shop; CREATE TABLE shop.visits (id integer); "
        "CREATE TABLE billing.visits (id integer); CREATE VIEW shop.payments AS SELECT 1 AS id")  # fmt: skip
    execute(
        fresh_database,
        "CREATE SCHEMA botdata; CREATE TABLE botdata.version (version integer NOT NULL); "
        "INSERT INTO botdata.version VALUES (1), (2), (3)",
    )
    for ddl in VERSIONS[:3]:
        execute(fresh_database, Schemas().named(ddl))
    names = "ARRAY['invoices', 'payments', 'visits', 'gone']"
    execute(fresh_database, _OLD.replace("%(names)s", names))
    async with open_target(fresh_database, step="test") as connection:
        await tool_schema.ensure_tool_schema(connection)
        await tool_schema.ensure_tool_schema(connection)
    assert value(fresh_database, "SELECT max(version) FROM botdata.version") == tool_schema.newest_version()
    for table in ("checkpoints", "writes", "quarantine", "row_versions"):
        assert query(fresh_database, f"SELECT table_name FROM botdata.{table} ORDER BY 1") == [
            ("billing.payments",), ("gone",), ("invoices",), ("visits",),
        ], table  # fmt: skip
