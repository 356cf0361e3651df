"""docs/rights.md: its statements are run, each command as the roles of its table, and with a right too few."""

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from app.schema import revisions
from app.stores.postgres.database_url import libpq_url
from tests.cli.command import Command, Outcome
from tests.migration.engine import add_clients, execute, query, row_texts
from tests.schema import phase08
from tests.support.postgres import PostgresServer
from tests.support.supabase import SupabaseServers

TEXT = (Path(__file__).parents[2] / "docs" / "rights.md").read_text(encoding="utf-8")
ADMINISTRATOR, OWNER, EXISTING, READER, WRITER = re.findall(r"^```sql\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
ROLES = {
    command: (target, source)
    for command, target, source in re.findall(r"^\| `botdata ([a-z -]+)` \| (\w*) \| (\w*) ?\|$", TEXT, re.MULTILINE)
}
pytestmark = pytest.mark.separate_server  # it makes roles

PASSWORDS = dict(re.findall(r"ROLE salon_(\w+) LOGIN PASSWORD '([\w ]+)'", TEXT))


@dataclass
class Sides:
    """The databases of the document, whose names begin with a word of this test's own."""

    word: str
    target: str
    source: str
    command: Command

    def url(self, side: str, role: str) -> str:
        """The URL of the target or the source for a role of the document."""
        url = make_url(self.target if side == "target" else self.source)
        url = url.set(username=f"{self.word}_{role}", password=PASSWORDS[role])
        return libpq_url(url.render_as_string(hide_password=False))

    def run(self, line: str, target: str, source: str = "") -> Outcome:
        """Run a command as these roles."""
        words = line.split()
        if source:
            words += ["--source", self.url("source", source)]
        return self.command(*words, DATABASE_URL=self.url("target", target))

    def as_named(self, line: str, *options: str) -> Outcome:
        """Run a command as the roles that the document names."""
        return self.run(" ".join([line, *options]), *ROLES[line])


@pytest.fixture
def sides(databases: PostgresServer, source_database: str, command: Command) -> Iterator[Sides]:
    """Both sides as the document makes them, up to the first command."""
    word = f"botdata_test_{uuid.uuid4().hex[:8]}"
    sides = Sides(word, databases.url(word), source_database, command)

    def statements(text: str, url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in text.replace("salon", word).split(";\n"):
                if statement.strip():
                    connection.execute(statement)

    add_clients(source_database, 5)
    execute(source_database, "INSERT INTO whatsapp_keys VALUES ('1', 'pre-key', '5', '2')")
    try:
        statements(ADMINISTRATOR, databases.admin_url)
        statements(OWNER, sides.url("target", "owner"))
        statements(READER + WRITER, source_database)
        yield sides
    finally:
        databases.drop_database(sides.target)
        with psycopg.connect(source_database, autocommit=True) as connection:
            made = connection.execute("SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", [word]).fetchall()
            for (role,) in made:
                connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_each_command_as_the_roles_of_the_table(sides: Sides) -> None:
    ran = []

    def well(line: str, *options: str, code: int = 0) -> None:
        outcome = sides.as_named(line, *options)
        assert outcome.code == code, f"{line}: {outcome.err}"
        ran.append(line)

    owner = sides.url("target", "owner")
    phase08.fill(owner)
    well("schema replace --yes")
    execute(owner, "DELETE FROM whatsapp_auth; DELETE FROM whatsapp_keys")
    well("upgrade")
    well("preflight", "--with-baileys")
    well("copy --dry-run", "--with-baileys")
    well("copy", "--with-baileys")
    well("verify", "--with-baileys")
    execute(sides.source, "UPDATE clients SET notes = 'new' WHERE id = 1; DELETE FROM clients WHERE id = 2")
    well("sync", "--with-baileys")
    execute(sides.target, "UPDATE clients SET notes = 'planted' WHERE id = 3")
    well("verify --fix", "--with-baileys")
    execute(sides.source, "ALTER TABLE clients ALTER phone DROP NOT NULL; UPDATE clients SET phone = NULL WHERE id = 4")
    assert sides.as_named("sync").code == 1
    well("quarantine list")
    well("quarantine replay", code=1)
    execute(sides.source, "UPDATE clients SET phone = '79000000004' WHERE id = 4")
    well("sync", "--until-clean")
    execute(sides.target, "UPDATE clients SET notes = 'of the bot' WHERE id = 5; DELETE FROM clients WHERE id = 1")
    well("sync --reverse", "--overwrite")
    well("verify", "--with-baileys")
    well("pause")
    well("resume")
    well("status")
    well("inventory", code=1)
    well("report", "--output", "report.html")
    assert row_texts(sides.target, "clients") == row_texts(sides.source, "clients")
    well("cutover advance", "--force", "tested")
    well("cutover back")
    execute(
        owner, "INSERT INTO botdata.processes (name, stage, chosen_by, reported_at) VALUES ('x', 'off', '', '2020-1-1')"
    )
    well("mirror status")
    well("cutover status", code=1)
    well("watch --json", code=1)
    well("cutover forget", "x")
    well("cutover table", "bookings", "postgres", "--force", "tested")
    execute(owner, "UPDATE botdata.stage SET stage = 'complete'")
    well("cutover finish --yes")
    well("cutover report")
    execute(
        owner,
        "INSERT INTO botdata.differences (stage, method, cause, places, arguments, fields) "
        "VALUES ('live', 'get_company', 'title (str)', '{title (str)}', '', '[]')",
    )
    well("cutover accept", "get_company", "title", "--reason", "tested", "--until", "9999-12-31")
    well("cutover history")
    well("uninstall --yes")
    assert sorted(set(ran)) == sorted(ROLES)


@pytest.mark.parametrize(
    ("line", "target", "source", "told"),
    [
        ("upgrade", "bot", "", "permission denied for schema public"),
        ("copy --dry-run", "bot", "reader", "target-privilege-missing"),
        ("copy", "bot", "reader", "target-privilege-missing"),
        ("report", "bot", "reader", "42501"),
        ("uninstall --yes", "bot", "", "must be owner of schema botdata"),
    ],
)
def test_a_bot_that_may_not_do_the_owners_work(sides: Sides, line: str, target: str, source: str, told: str) -> None:
    if line != "upgrade":
        assert sides.as_named("upgrade").code == 0
    if line in {"uninstall --yes", "report"}:
        assert sides.as_named("copy").code == 0
    outcome = sides.run(line, target, source)
    assert outcome.code == 1
    assert told in outcome.err
    assert "next:" in outcome.err


def test_a_bot_that_would_replace_the_schema(sides: Sides) -> None:
    phase08.fill(sides.url("target", "owner"))
    outcome = sides.run("schema replace --yes", "bot")
    assert outcome.code == 1
    assert "the role does not own" in outcome.err
    assert "next:    let their owner run: botdata schema replace" in outcome.err


def test_a_sync_beside_foreign_keys_is_for_the_owner(sides: Sides) -> None:
    for line in ("upgrade", "copy"):
        assert sides.as_named(line).code == 0
    owner = sides.url("target", "owner")
    execute(owner, "ALTER TABLE clients ADD FOREIGN KEY (id) REFERENCES clients (id)")
    execute(sides.source, "UPDATE clients SET notes = 'new' WHERE id = 1")
    outcome = sides.as_named("sync")
    assert outcome.code == 1
    assert "next:" in outcome.err
    assert row_texts(sides.target, "clients") != row_texts(sides.source, "clients")
    assert sides.run("sync", "owner", "reader").code == 0
    assert row_texts(sides.target, "clients") == row_texts(sides.source, "clients")


def test_parity_and_mirrors_as_the_bot(sides: Sides, supabase_server_factory: SupabaseServers) -> None:
    assert sides.as_named("upgrade").code == 0
    supabase = supabase_server_factory(revisions.upgrade)
    settings = {"SUPABASE_URL": supabase.url, "SUPABASE_KEY": supabase.service_key}
    for line in ("parity", "parity --writes"):
        outcome = sides.command(*line.split(), DATABASE_URL=sides.url("target", "bot"), **settings)
        assert outcome.code == 0, outcome.out + outcome.err
    owner = sides.url("target", "owner")
    execute(owner, "UPDATE botdata.stage SET stage = 'live', moved_at = now()")
    for line in ("mirror drain", "mirror retry"):
        execute(
            owner,
            "INSERT INTO botdata.outbox (process, table_name, key, unsure, last_error) "
            "VALUES ('x', 'clients', '{7,1}', false, 'refused')",
        )
        outcome = sides.command(*line.split(), DATABASE_URL=sides.url("target", "bot"), **settings)
        assert outcome.code == 0, outcome.out + outcome.err
        assert query(owner, "SELECT FROM botdata.outbox") == []


@pytest.mark.parametrize("line", ["copy", "verify"])
def test_a_reader_that_may_not_read_a_table(sides: Sides, line: str) -> None:
    assert sides.as_named("upgrade").code == 0
    execute(sides.source, f"REVOKE SELECT ON clients FROM {sides.word}_reader")
    outcome = sides.run(line, "owner", "reader")
    assert outcome.code == 1
    told = "the source's role may not read clients" if line == "copy" else "permission denied for table clients"
    assert told in outcome.out + outcome.err


def test_a_bot_that_was_given_nothing(sides: Sides) -> None:
    for line in ("upgrade", "copy"):
        assert sides.as_named(line).code == 0
    owner = sides.url("target", "owner")
    execute(owner, f"REVOKE ALL ON clients FROM {sides.word}_bot; REVOKE ALL ON SCHEMA botdata FROM {sides.word}_bot")
    for line, told in (("verify", "table clients"), ("status", "schema botdata")):
        outcome = sides.as_named(line)
        assert outcome.code == 1
        assert f"permission denied for {told}" in outcome.err
        assert "docs/rights.md" in outcome.err


def test_tables_that_were_there_before(sides: Sides) -> None:
    owner = sides.url("target", "owner")
    execute(owner, "CREATE TABLE older (id serial PRIMARY KEY)")
    execute(owner, f"REVOKE ALL ON older FROM {sides.word}_bot; REVOKE ALL ON older_id_seq FROM {sides.word}_bot")
    execute(owner, EXISTING.replace("salon", sides.word))
    execute(
        sides.url("target", "bot"),
        "INSERT INTO older DEFAULT VALUES; SELECT setval('older_id_seq', 9)",
    )
    assert query(owner, "SELECT id, (SELECT last_value FROM older_id_seq) FROM older") == [(1, 9)]
