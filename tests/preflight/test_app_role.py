"""`preflight --app-role`: what the application's role may do with the target's tables, and which rows it sees."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from psycopg import sql
from sqlalchemy import Column, Integer, MetaData, Table
from sqlalchemy.engine import make_url

from tests.cli.command import Command
from tests.migration.engine import execute, query
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.separate_server  # it makes roles
METADATA = MetaData()
for _name in ("open", "bare", "closed", "own_rows", "claims", "numbered"):
    Table(_name, METADATA, Column("id", Integer, primary_key=True))
Table("far", METADATA, Column("id", Integer, primary_key=True), schema="away")

_DDL = """
CREATE SCHEMA away; CREATE TABLE away.far (id integer PRIMARY KEY); CREATE SEQUENCE numbers;
CREATE TABLE open (id integer PRIMARY KEY); CREATE TABLE bare (id integer PRIMARY KEY);
CREATE TABLE closed (id integer PRIMARY KEY); ALTER TABLE closed ENABLE ROW LEVEL SECURITY;
CREATE TABLE own_rows (id integer PRIMARY KEY); ALTER TABLE own_rows ENABLE ROW LEVEL SECURITY;
CREATE POLICY reads ON own_rows FOR SELECT USING (id < 3);
CREATE TABLE claims (id integer PRIMARY KEY); ALTER TABLE claims ENABLE ROW LEVEL SECURITY;
CREATE POLICY reads ON claims USING (id = (current_setting('request.jwt.claims')::json ->> 'sub')::integer);
CREATE TABLE numbered (id integer PRIMARY KEY DEFAULT nextval('numbers'));
INSERT INTO open VALUES (1), (2), (3); INSERT INTO closed SELECT id FROM open; INSERT INTO own_rows SELECT id FROM open;
INSERT INTO claims SELECT id FROM open;
"""
_GRANTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON open, closed, claims, numbered, away.far TO {role};
GRANT SELECT ON own_rows TO {role}; GRANT INSERT (id) ON own_rows TO {role};
"""


@dataclass(frozen=True)
class _Role:
    name: str
    target: str
    command: Command
    settings: dict[str, str]

    def look(self, *, code: int, role: str | None = None, **settings: str) -> dict[str, Any]:
        outcome = self.command(
            "preflight", "--app-role", role or self.name, "--metadata", f"{__name__}:METADATA", "--json",
            **self.settings | settings,
        )  # fmt: skip
        assert outcome.code == code, outcome.out + outcome.err
        document: dict[str, Any] = json.loads(outcome.out)
        return document

    def found(self, document: dict[str, Any]) -> dict[tuple[str, str], tuple[str, str]]:
        """Of each finding about the role, by code and table: its severity and what to do."""
        return {
            (one["code"].removeprefix("app-role-"), one["table"]): (one["severity"], one["remedy"])
            for one in document["findings"]
            if one["code"].startswith("app-role-")
        }


@pytest.fixture
def role(databases: PostgresServer, fresh_database: str, command: Command) -> Iterator[_Role]:
    source, name = databases.create_database(), f"app_{uuid.uuid4().hex[:12]}"
    try:
        execute(source, _DDL)
        execute(fresh_database, _DDL)
        for statement in (f"CREATE ROLE {name}", _GRANTS.format(role=name)):
            execute(fresh_database, statement)
        yield _Role(name, fresh_database, command, {"DATABASE_URL": fresh_database, "MIGRATION_SOURCE": source})
    finally:
        execute(fresh_database, f"DROP OWNED BY {name}; DROP ROLE {name}")
        databases.drop_database(source)


def test_each_table_as_the_role_sees_it(role: _Role) -> None:
    document = role.look(code=1)
    seen = {
        one["table"]: (one["reads"], one["writes"], one["row_security"], one["seen"], one["rows"])
        for one in document["app_role"]["tables"]
    }
    every = ["INSERT", "UPDATE", "DELETE"]
    assert seen == {
        "open": (True, every, False, None, None),
        "bare": (False, [], None, None, None),
        "closed": (True, [], True, 0, 3),
        "own_rows": (True, [], True, 2, 3),
        "claims": (True, every, True, None, None),
        "numbered": (True, every, False, None, None),
        "away.far": (False, [], None, None, None),
    }
    to = f"TO {role.name}"
    assert role.found(document) == {
        ("privilege-missing", "bare"): ("error", f"GRANT SELECT, INSERT, UPDATE, DELETE ON public.bare {to}"),
        ("privilege-missing", "away.far"): ("error", f"GRANT USAGE ON SCHEMA away {to}"),
        ("privilege-missing", "numbered"): ("warning", f"GRANT USAGE ON SEQUENCE numbers {to}"),
        ("privilege-missing", "own_rows"): ("warning", f"GRANT UPDATE, DELETE ON public.own_rows {to}"),
        ("rows-hidden", "closed"): ("error", f"CREATE POLICY app_reads ON public.closed FOR SELECT {to} USING (...)"),
        ("writes-refused", "closed"): (
            "warning",
            f"CREATE POLICY app_writes ON public.closed {to} USING (...) WITH CHECK (...)",
        ),
        ("writes-refused", "own_rows"): (
            "warning",
            f"CREATE POLICY app_writes ON public.own_rows {to} USING (...) WITH CHECK (...)",
        ),
        ("rows-hidden", "own_rows"): (
            "warning",
            "nothing, where the policies are meant so and the application sets its claims (docs/rights.md)",
        ),
        ("rows-unknown", "claims"): (
            "warning",
            "set the claims as the application does (docs/rights.md), and look with psql",
        ),
    }


def test_the_statements_help(role: _Role) -> None:
    for (_, table), (_, remedy) in role.found(role.look(code=1)).items():
        if remedy.startswith(("GRANT", "CREATE")):
            execute(role.target, remedy.replace("...", "true"))
        elif table == "own_rows":
            execute(role.target, "DROP POLICY reads ON own_rows")
    found = role.found(role.look(code=0))
    assert found.keys() == {("rows-unknown", "claims")}
    execute(role.target, f"ALTER ROLE {role.name} BYPASSRLS")
    document = role.look(code=0)
    assert role.found(document) == {}
    assert {one["row_security"] for one in document["app_role"]["tables"]} == {False}
    shown = role.command(
        "preflight", "--app-role", role.name, "--metadata", f"{__name__}:METADATA", **role.settings
    ).out
    assert f"As {role.name}:" in shown
    assert "insert, update, delete" in shown


def test_a_role_whose_place_cannot_be_taken(role: _Role) -> None:
    found = role.found(role.look(code=1, role='no "such" role'))
    assert found == {
        ("missing", None): (
            "error", 'CREATE ROLE "no ""such"" role" LOGIN, and then the rights that this look names',
        ),
    }  # fmt: skip
    owner = f"owner_{role.name}"
    execute(role.target, f"CREATE ROLE {owner} LOGIN PASSWORD 'owner'")
    try:
        database = query(role.target, "SELECT current_database()")[0][0]
        for place in ("open", "bare", "closed", "own_rows", "claims", "numbered", "away.far"):
            execute(role.target, f"ALTER TABLE {place} OWNER TO {owner}")
        grant = sql.SQL("GRANT ALL ON DATABASE {} TO {}; GRANT ALL ON SCHEMA away TO {}")
        execute(role.target, grant.format(*map(sql.Identifier, (database, owner, owner))).as_string(None))
        as_owner = make_url(role.target).set(username=owner, password="owner").render_as_string(hide_password=False)
        document = role.look(code=1, DATABASE_URL=as_owner)
        assert role.found(document)["not-assumed", None] == ("warning", f"GRANT {role.name} TO {owner}")
        assert {one["seen"] for one in document["app_role"]["tables"]} == {None}
    finally:
        execute(role.target, f"REASSIGN OWNED BY {owner} TO CURRENT_USER; DROP OWNED BY {owner}; DROP ROLE {owner}")
