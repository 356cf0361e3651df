"""What cannot be adopted is said in a sentence, and nothing is written for it."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.adopt.adopting import adopt, run
from tests.adopt.conftest import Project, load
from tests.cli.command import Command
from tests.support.postgres import PostgresServer


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--schemas", "public,store"], "the database has no schema store"),
        (["--schemas", "auth"], "Supabase makes auth itself"),
        (["--schemas", " , "], "it names no schema"),
        (["--scratch", "postgresql://127.0.0.1:1/x"], "--scratch: PostgreSQL cannot be reached"),
        (["--with-auth-secrets"], "it needs --with-auth"),
        (["--pg-dump", "/bin/true"], "--pg-dump /bin/true is of version"),
        (["--schema-file", "schema.sql"], "it stands alone"),
    ],
)
def test_an_option_that_cannot_be(command: Command, edges: Project, options: list[str], said: str) -> None:
    outcome = command("adopt", "new", "--source", edges.source, *options)
    assert outcome.code in {1, 2}
    assert said.split(" is of")[0] in " ".join(outcome.err.split())
    assert not Path("new").exists()


def test_a_source_that_cannot_be_reached_is_named_as_such(command: Command) -> None:
    outcome = command(
        "adopt", "a new", "--schemas", "public", "--with-auth", "--source", "postgresql://a:b@127.0.0.1:1/x"
    )
    assert outcome.code == 1
    again = "botdata adopt --source 'postgresql://a:***@127.0.0.1:1/x' --schemas public --with-auth 'a new'\n"
    assert outcome.err.endswith(again)
    assert "the source (--source): PostgreSQL cannot be reached" in outcome.err
    assert "target" not in outcome.err


def test_the_schema_is_not_read_over_rest(command: Command) -> None:
    outcome = command("adopt", "new", MIGRATION_SOURCE="supabase")
    assert outcome.code == 2
    assert "over REST" in outcome.err
    assert "--schema-file" in outcome.err


def test_a_directory_of_somebody_elses(command: Command, edges: Project) -> None:
    Path("other").mkdir()
    Path("other/notes.txt").write_text("mine")
    outcome = command("adopt", "other", "--source", edges.source)
    assert outcome.code == 1
    assert "holds files that no adopt wrote" in outcome.err
    assert os.listdir("other") == ["notes.txt"]


def test_a_database_without_tables(command: Command, fresh_database: str) -> None:
    outcome = command("adopt", "new", "--source", fresh_database)
    assert outcome.code == 1
    assert "hold no table that the role of --source can see" in outcome.err
    assert not Path("new").exists()


def test_a_scratch_database_that_is_in_use(edges: Project, tmp_path: Path) -> None:
    adopted = adopt(edges.source, tmp_path / "new", "--scratch", edges.source)
    assert adopted.code == 1
    assert "is not empty" in adopted.said


_WITH_ROLE = """
CREATE TABLE notes (id int PRIMARY KEY, owner text);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes TO "{role}" USING (owner = current_user);
"""


@pytest.fixture
def role(separate_server: PostgresServer, postgres_server: PostgresServer, fresh_database: str) -> Iterator[str]:
    """A role that only the source's server has, once the source is read."""
    if separate_server is postgres_server:
        pytest.skip("one given server stands under all tests")
    name = f"reader {uuid.uuid4().hex[:8]}"
    yield name
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        connection.execute(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')


@pytest.mark.separate_server
def test_a_role_that_the_target_lacks(
    role: str, fresh_database: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    made = f'CREATE ROLE "{role}" BYPASSRLS;'
    load(fresh_database, made + _WITH_ROLE.format(role=role))
    directory = tmp_path / "notes"
    scratch = postgres_server.create_database()
    adopted = adopt(fresh_database, directory, "--scratch", scratch)
    assert adopted.code == 3
    (not_proved,) = [line for line in adopted.said.splitlines() if line.startswith("NOT PROVED: ")]
    assert not_proved.endswith(f"lacks role {role}")
    assert made in adopted.said
    assert adopted.document["proved"] is False
    refused = run(directory, "alembic", "upgrade", "head", target=scratch)
    assert refused.returncode == 1
    assert made in refused.stderr
    with psycopg.connect(scratch) as connection:
        assert connection.execute("SELECT to_regclass('notes')").fetchone() == (None,)
    postgres_server.drop_database(scratch)
