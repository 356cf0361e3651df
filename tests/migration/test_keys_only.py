"""Tables of which only keys are kept: no value of them reaches schema botdata, a report or a file."""

import json
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.migration.preflight.schemas.target_schema import examine_against
from app.migration.tables.metadata import select_tables
from tests.cli.command import Command, Outcome
from tests.fixtures.sources import Ends
from tests.migration.engine import copy_from, execute, query, row_texts, value
from tests.migration.two_ends import sync_from
from tests.preflight.looking import look

PLANTED = ("$2a$10$PLANTED", "+79001234567")
_INFO = {"keys_only": True, "changed_at": "changed"}
METADATA = MetaData()
Table(
    "users", METADATA, Column("id", Integer, primary_key=True), Column("hash", Text), Column("phone", Text),
    Column("changed", Integer), info=_INFO,
)  # fmt: skip
Table("logins", METADATA, Column("hash", Text), Column("phone", Text), info={"keys_only": True})
_USERS = select_tables(METADATA, names=["users"])
_SCHEMA = (
    "CREATE TABLE users (id integer PRIMARY KEY, hash text UNIQUE, phone text, changed integer); "
    "CREATE TABLE logins (hash text, phone text);"
)
# It refuses rows with a message that quotes them.
_REFUSES = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF new.hash LIKE '%refused' THEN RAISE EXCEPTION 'hash % of % is refused', new.hash, new.phone; END IF; RETURN new;
END $$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION refuse();
ALTER TABLE users ENABLE ALWAYS TRIGGER refuse;
"""


def _row(number: int, changed: int = 1, *, end: str = "") -> str:
    return f"({number}, '{PLANTED[0]}{number}{end}', '{PLANTED[1]}{number}', {changed})"


def planted_in(url: str) -> list[str]:
    """The tables of schema botdata that hold a planted value."""
    found = []
    with psycopg.connect(url) as connection:
        names = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'botdata'::regnamespace "
            "AND relkind IN ('r', 'p') ORDER BY 1"
        ).fetchall()
        for (name,) in names:
            texts = connection.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier("botdata", name)))
            if any(planted in text for (text,) in texts for planted in PLANTED):
                found.append(name)
    assert len(names) > 10
    return found


async def test_before_images_of_both_directions_hold_keys(ends: Ends) -> None:
    ends.make(_SCHEMA, f"INSERT INTO users VALUES {_row(1)}, {_row(2)}, {_row(3)}, {_row(4)}")
    await copy_from(ends.served, ends.target, _USERS)
    await sync_from(ends.served, ends.target, _USERS)
    # Later in the target; there alone; of the source's, refused.
    execute(ends.target, f"UPDATE users SET phone = phone || '0', changed = 9 WHERE id = 1; {_REFUSES}")
    execute(ends.target, f"INSERT INTO users VALUES {_row(10)}")
    execute(ends.source, "UPDATE users SET phone = phone || '1', changed = 5 WHERE id = 1")
    execute(ends.source, f"INSERT INTO users VALUES {_row(5, end='refused')}")
    forward = (await sync_from(ends.served, ends.target, _USERS)).tables["users"]
    assert (forward.kept, forward.keys_only, [one.key for one in forward.refused]) == (2, True, [("5",)])
    kept = "SELECT key, row_text::text FROM botdata.replaced_rows ORDER BY number"
    assert query(ends.target, kept) == [(["10"], '{"id" : "10"}'), (["1"], '{"id" : "1"}')]
    assert query(ends.target, "SELECT row_text::text, message FROM botdata.quarantine") == [('{"id":"5"}', "")]
    # Later in the source; there alone; two rows that hold each other's unique values.
    execute(
        ends.source, "UPDATE users SET phone = phone || '2', changed = 9 WHERE id = 2; DELETE FROM users WHERE id = 5"
    )
    execute(ends.source, f"INSERT INTO users VALUES {_row(11)}")
    execute(ends.target, "UPDATE users SET phone = phone || '3', changed = 5 WHERE id = 2")
    swap = "UPDATE users SET hash = 'x' WHERE id = 3; UPDATE users SET hash = '{}3' WHERE id = 4; "
    execute(ends.target, "DROP TRIGGER refuse ON users")
    execute(ends.target, f"{swap.format(PLANTED[0])}UPDATE users SET hash = '{PLANTED[0]}4' WHERE id = 3")
    back = (await sync_from(ends.served, ends.target, _USERS, reverse=True, target_in_use=True)).tables["users"]
    assert (back.kept, sorted(one.key for one in back.refused)) == (2, [("3",), ("4",)])
    assert value(ends.source, "SELECT count(*) FROM users") == 4
    assert sorted(query(ends.target, kept))[-2:] == [(["11"], '{"id" : "11"}'), (["2"], '{"id" : "2"}')]
    assert planted_in(ends.target) == []


@pytest.mark.parametrize("ends", ["connection"], indirect=True)
async def test_of_a_table_without_a_key_nothing_is_kept(ends: Ends) -> None:
    chosen = select_tables(METADATA, names=["logins"])
    ends.make(_SCHEMA, "INSERT INTO logins VALUES ('a', 'b')")
    await copy_from(ends.served, ends.target, chosen)
    execute(ends.target, f"INSERT INTO logins VALUES ('{PLANTED[0]}', '{PLANTED[1]}')")
    execute(ends.target, _REFUSES.replace("users", "logins"))
    execute(ends.source, f"INSERT INTO logins VALUES ('{PLANTED[0]}refused', '{PLANTED[1]}')")
    synced = (await sync_from(ends.served, ends.target, chosen)).tables["logins"]
    assert (synced.kept, synced.keys_only, len(synced.refused)) == (1, True, 1)
    assert query(ends.target, "SELECT row_text::text FROM botdata.replaced_rows") == [("{}",)]
    assert planted_in(ends.target) == []


@pytest.mark.parametrize("ends", ["connection"], indirect=True)
def test_every_command_says_the_key_and_the_reason(
    ends: Ends, command: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    ends.make(_SCHEMA, f"INSERT INTO users VALUES {_row(1)}, {_row(2, end='refused')}", _SCHEMA + _REFUSES)
    outcomes: list[Outcome] = []

    def run(line: str, *, code: int) -> str:
        bare = line.startswith(("quarantine show", "quarantine import", "status"))
        models = [] if bare else ["--metadata", f"{__name__}:METADATA"]
        outcome = command(*line.split(), *models, DATABASE_URL=ends.target, MIGRATION_SOURCE=ends.source)
        assert outcome.code == code, f"{line}: {outcome.out}{outcome.err}"
        outcomes.append(outcome)
        return outcome.out

    accepted = "--accept target-trigger-on-insert:users.refuse"
    assert "GRANT" not in run(f"preflight --app-role pg_monitor {accepted}", code=0)
    run(f"copy --dry-run {accepted}", code=0)
    run(f"copy {accepted}", code=1)
    number = value(ends.target, "SELECT number FROM botdata.quarantine")
    shown = run(f"quarantine show {number}", code=0)
    assert "users 2" in shown
    assert "SQLSTATE P0001; of rows of this table only the key is kept" in shown
    assert json.loads(run(f"quarantine show {number} --json", code=0))["row"] == {"id": "2"}
    run("quarantine list", code=0)
    run("quarantine export refused.json", code=0)
    run("quarantine import refused.json", code=0)
    execute(ends.target, "DROP TRIGGER refuse ON users")
    replayed = run("quarantine replay", code=1)
    assert "only keys of these rows are kept, which cannot be loaded: 2" in replayed
    assert f"botdata sync --metadata {__name__}:METADATA --tables users" in replayed
    assert json.loads(run("quarantine replay --json", code=1))["tables"][0]["without_values"] == [["2"]]
    execute(ends.target, "UPDATE users SET hash = hash || 'other' WHERE id = 1; INSERT INTO users VALUES " + _row(3))
    verified = run("verify --show-values", code=1)
    assert "different: users 1 column hash, whose values are not shown" in verified
    (different,) = [
        one
        for one in json.loads(run("verify --json", code=1))["tables"][1]["differences"]
        if one["kind"] == "different"
    ]
    assert (different["source"], different["target"], different["withheld"]) == (None, None, True)
    synced = run("sync --tables users", code=0)
    assert "of users, 1 of these: their keys only" in synced
    run("verify", code=0)
    run("status", code=0)
    assert row_texts(ends.source, "users") == row_texts(ends.target, "users")
    told = [one.out + one.err for one in outcomes] + [caplog.text]
    told += [file.read_text("utf-8") for file in tmp_path.rglob("*") if file.is_file()]
    assert [text for text in told for planted in PLANTED if planted in text] == []
    assert planted_in(ends.target) == []


async def test_values_that_are_there_twice_are_told_by_their_rows(ends: Ends) -> None:
    metadata = MetaData()
    Table("users", metadata, Column("id", Integer, primary_key=True), Column("hash", Text, unique=True), info=_INFO)
    chosen = select_tables(metadata)
    ends.make(
        "CREATE TABLE users (id integer PRIMARY KEY, hash text)",
        f"INSERT INTO users VALUES (1, '{PLANTED[0]}'), (2, '{PLANTED[0]}')",
    )
    report = await look(ends.served, ends.target, tables=chosen, examine=examine_against(chosen))
    (found,) = [one for one in report.findings if one.code == "source-duplicates"]
    assert "(hash) more than once, which the target holds unique: ids 1; 2" in found.message
