"""Foreign keys that not all rows keep: which hold a run up, what mends them, and who names them until then."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table
from sqlalchemy.engine import make_url

from tests.cli.command import Command, Outcome
from tests.migration.engine import execute, query, value
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

METADATA = MetaData()
Table(
    "profiles",
    METADATA,
    Column("id", Integer, ForeignKey("auth.users.id"), primary_key=True),
    Column("friend", Integer, ForeignKey("auth.users.id")),
)
Table("pets", METADATA, Column("id", Integer, primary_key=True), Column("owner", Integer, ForeignKey("profiles.id")))
Table("notes", METADATA, Column("id", Integer, primary_key=True))

_DDL = """
CREATE SCHEMA auth; CREATE TABLE auth.users (id integer PRIMARY KEY);
CREATE TABLE profiles (id integer PRIMARY KEY, friend integer);
CREATE TABLE pets (id integer PRIMARY KEY, owner integer); CREATE TABLE notes (id integer PRIMARY KEY);
"""
_KEYS = """
ALTER TABLE profiles ADD CONSTRAINT of_user FOREIGN KEY (id) REFERENCES auth.users;
ALTER TABLE profiles ADD CONSTRAINT of_friend FOREIGN KEY (friend) REFERENCES auth.users;
ALTER TABLE pets ADD CONSTRAINT of_profile FOREIGN KEY (owner) REFERENCES profiles;
"""
# So a changed row is deleted and inserted again, by verify --fix and replay too, which take the keys away for that.
_ON_UPDATE = """
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
CREATE TRIGGER keeps BEFORE UPDATE ON profiles FOR EACH ROW EXECUTE FUNCTION keep();
ALTER TABLE profiles ENABLE ALWAYS TRIGGER keeps;
"""
_ROWS = """
INSERT INTO auth.users SELECT generate_series(1, 3); INSERT INTO profiles VALUES (1, NULL), (2, 1), (3, 1);
INSERT INTO pets VALUES (1, 1), (2, 2); INSERT INTO notes VALUES (1);
"""
_VALID = "SELECT conname, convalidated FROM pg_constraint WHERE contype = 'f' AND conname ~ '^of_' ORDER BY 1"
_PROOF = 'ALTER TABLE "public"."profiles" VALIDATE CONSTRAINT "of_user"'


@dataclass(frozen=True)
class _Move:
    source: str
    target: str
    settings: dict[str, str]
    command: Command

    def __call__(self, line: str, *, code: int = 0) -> Outcome:
        models = [] if line.startswith(("status", "uninstall")) else ["--metadata", f"{__name__}:METADATA"]
        outcome = self.command(*line.split(), *models, **self.settings)
        assert outcome.code == code, f"{line}\n{outcome.out}\n{outcome.err}"
        return outcome

    def document(self, line: str, *, code: int = 0) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self(f"{line} --json", code=code).out)
        return document


@pytest.fixture(params=["page server", "connection"])
def move(
    request: pytest.FixtureRequest, databases: PostgresServer, fresh_database: str, command: Command
) -> Iterator[_Move]:
    source = databases.create_database()
    try:
        execute(source, _DDL + _ROWS)
        execute(fresh_database, _DDL + _KEYS)
        settings = {"DATABASE_URL": fresh_database}
        if request.param == "connection":
            yield _Move(source, fresh_database, settings | {"MIGRATION_SOURCE": source}, command)
        else:
            with PageServer(source) as pages:
                settings |= {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key}
                yield _Move(source, fresh_database, settings, command)
    finally:
        databases.drop_database(source)


def _found(move: _Move) -> dict[str, str]:
    document = move.document("preflight")
    return {one["message"]: one["severity"] for one in document["findings"] if one["code"] == "target-parent-not-moved"}


def test_the_parent_is_no_part_of_the_move(move: _Move) -> None:
    execute(move.target, "INSERT INTO auth.users VALUES (1)")
    assert _found(move) == {
        "of_user of the target's profiles leads to auth.users, which is not among the tables that are moved: "
        "2 rows would lack their row there": "warning",
        "of_friend of the target's profiles leads to auth.users, which is not among the tables that are moved: "
        "no row would lack its row there": "notice",
    }
    copied = move("copy")
    assert "copy complete" in copied.out
    assert f"once no row lacks its own: {_PROOF}" in copied.out
    assert query(move.target, _VALID) == [("of_friend", True), ("of_profile", True), ("of_user", False)]
    status = move.document("status")
    ((key),) = status["foreign_keys"]
    assert (key["table"], key["references"], key["state"], key["statement"]) == (
        "profiles", "auth.users", "not valid", _PROOF,
    )  # fmt: skip
    assert query(move.target, key["query"]) == [(2, 1), (3, 1)]
    assert _PROOF in move("status").out
    assert "no difference" in move("verify").out
    execute(move.source, "UPDATE profiles SET friend = NULL WHERE id = 3")
    execute(move.target, _ON_UPDATE)
    for line in ("verify --fix", "sync", "quarantine replay", "copy", "migrate"):
        move(line)
    (broken,) = move.document("copy")["broken_foreign_keys"]
    assert (broken["references"], broken["moved"], broken["orphans"]) == ("auth.users", False, 2)
    execute(move.target, "INSERT INTO auth.users VALUES (2), (3)")
    execute(move.target, key["statement"])
    assert move.document("status")["foreign_keys"] == []
    assert move.document("copy")["broken_foreign_keys"] == []
    assert _found(move).popitem()[1] == "notice"


def test_rows_that_contradict_each_other(move: _Move) -> None:
    """The hint mends it, and other tables are not held up."""
    execute(move.target, "INSERT INTO auth.users SELECT generate_series(1, 3)")
    execute(move.source, "INSERT INTO pets VALUES (3, 99)")
    copied = move.document("copy", code=1)
    (broken,) = copied["broken_foreign_keys"]
    assert (broken["table"], broken["moved"], query(move.target, broken["query"])) == ("pets", True, [(3, 99)])
    assert copied["next"].startswith("at the source, give those rows the row that they refer to")
    assert "; then: botdata sync --metadata" in copied["next"]
    for other in ("notes", "profiles"):  # the key leads to one of them
        document = move.document(f"copy --tables {other}")
        assert (document["ok"], document["broken_foreign_keys"]) == (True, [])
    assert [key["name"] for key in move.document("status")["foreign_keys"]] == ["of_profile"]
    assert move.document("sync", code=1)["next"] == copied["next"]
    execute(move.source, "DELETE FROM pets WHERE id = 3")
    assert move.document("sync")["ok"]
    assert query(move.target, _VALID) == [("of_friend", True), ("of_profile", True), ("of_user", True)]


def test_a_key_that_its_owner_drops(move: _Move) -> None:
    execute(move.source, "INSERT INTO pets VALUES (3, 99)")
    move("copy", code=1)
    execute(move.target, "ALTER TABLE pets DROP CONSTRAINT of_profile")
    move("sync")
    assert [key["name"] for key in move.document("status")["foreign_keys"]] == ["of_friend", "of_user"]
    move("uninstall --yes")
    assert value(move.target, "SELECT to_regnamespace('botdata')") is None


def test_a_partitioned_table_whose_parent_is_no_part_of_the_move(move: _Move) -> None:
    """Before PostgreSQL 18 its key cannot be NOT VALID, so that new rows are not checked: that is not complete."""
    execute(move.target, "DROP TABLE notes")
    execute(move.target, "CREATE TABLE notes (id integer PRIMARY KEY REFERENCES auth.users) PARTITION BY RANGE (id)")
    execute(move.target, "CREATE TABLE low PARTITION OF notes FOR VALUES FROM (0) TO (10)")
    old = value(move.target, "SELECT current_setting('server_version_num')::integer < 180000")
    copied = move.document("copy --tables notes", code=1 if old else 0)
    (broken,) = copied["broken_foreign_keys"]
    assert (broken["there"], broken["references"], broken["orphans"]) == (not old, "auth.users", 1)
    if old:
        assert copied["next"].startswith("bring the rows of auth.users to the target; then: botdata sync")
    execute(move.target, "INSERT INTO auth.users VALUES (1)")
    execute(move.target, broken["statement"])
    assert move.document("status")["foreign_keys"] == []
    assert move.document("sync --tables notes")["broken_foreign_keys"] == []


@pytest.mark.separate_server
def test_a_parent_that_the_role_may_not_read(move: _Move) -> None:
    """The key is left NOT VALID all the same, and the rows that lack theirs are not counted."""
    name = value(move.target, "SELECT current_database()")
    role = f"owner_{name}"
    execute(move.target, f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'owner'")
    try:
        execute(move.target, f'GRANT ALL ON DATABASE "{name}" TO "{role}"; GRANT USAGE ON SCHEMA auth TO "{role}"')
        for table in ("profiles", "pets", "notes"):
            execute(move.target, f'ALTER TABLE {table} OWNER TO "{role}"')
        execute(move.target, f'GRANT REFERENCES ON auth.users TO "{role}"')
        url = make_url(move.target).set(username=role, password="owner").render_as_string(hide_password=False)
        as_owner = replace(move, settings=move.settings | {"DATABASE_URL": url})
        found = [one for one in as_owner.document("preflight")["findings"] if one["code"] == "target-parent-not-moved"]
        wanted = ("warning", f"GRANT SELECT ON auth.users TO {role}")
        assert [(one["severity"], one["remedy"]) for one in found] == [wanted] * 2
        broken = as_owner.document("copy")["broken_foreign_keys"]
        assert [(key["name"], key["orphans"]) for key in broken] == [("of_friend", None), ("of_user", None)]
        execute(move.target, f'REVOKE USAGE ON SCHEMA auth FROM "{role}"')
        assert len(as_owner.document("status")["foreign_keys"]) == 2
    finally:
        execute(move.target, f'REASSIGN OWNED BY "{role}" TO CURRENT_USER; DROP OWNED BY "{role}"; DROP ROLE "{role}"')


def test_a_run_that_takes_the_parents_away_says_so(move: _Move) -> None:
    execute(move.target, "INSERT INTO auth.users SELECT generate_series(1, 3)")
    move("copy")
    execute(move.source, "DELETE FROM profiles WHERE id = 2; DELETE FROM pets WHERE id = 2")
    synced = move.document("sync --tables profiles", code=1)
    assert [(key["table"], key["orphans"]) for key in synced["broken_foreign_keys"]] == [("pets", 1)]
    assert move.document("sync")["broken_foreign_keys"] == []
    assert query(move.target, _VALID) == [("of_friend", True), ("of_profile", True), ("of_user", True)]
