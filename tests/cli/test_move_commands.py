"""What copy, verify, migrate, upgrade and uninstall print, and their exit codes."""

import json

import pytest

from tests.cli.command import Command
from tests.migration.engine import add_clients, execute, query, row_texts, value
from tests.support.page_server import PageServer

PHONE = "79000000077"


@pytest.fixture
def settings(pages: PageServer, source_database: str, database_url: str) -> dict[str, str]:
    add_clients(source_database, 30)
    execute(
        source_database,
        f"INSERT INTO whatsapp_keys VALUES ('1', 'session', '{PHONE}.0', '1.10'), ('1', 'pre-key', '5', '2')",
    )
    return {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}


def test_copy_and_verify(command: Command, settings: dict[str, str], source_database: str) -> None:
    copied = command("copy", "--with-baileys", **settings)
    assert copied.code == 0
    assert "copy complete: 32 rows copied" in copied.out
    assert "copy clients: 0 of 30 rows" in copied.err.splitlines()
    assert "copy clients: 30 of 30 rows" in copied.err.splitlines()
    assert not any(character in copied.err + copied.out for character in "\x1b\r━")  # plain lines off a terminal
    verified = command("verify", "--with-baileys", **settings)
    assert verified.code == 0
    assert "verified: 32 rows, no difference" in verified.out
    for table in ("clients", "whatsapp_keys"):
        assert row_texts(settings["DATABASE_URL"], table) == row_texts(source_database, table)


def test_the_baileys_tables_are_copied_only_when_asked_for(command: Command, settings: dict[str, str]) -> None:
    assert command("copy", **settings).code == 0
    target = settings["DATABASE_URL"]
    assert (value(target, "SELECT count(*) FROM clients"), value(target, "SELECT count(*) FROM whatsapp_keys")) == (
        30,
        0,
    )
    assert command("copy", "--tables", " whatsapp_keys , staff", **settings).code == 0
    assert value(target, "SELECT count(*) FROM whatsapp_keys") == 2


def test_migrate_does_it_all(command: Command, settings: dict[str, str], fresh_database: str) -> None:
    outcome = command("migrate", "--with-baileys", **{**settings, "DATABASE_URL": fresh_database})
    assert outcome.code == 0
    assert "schema: upgraded from nothing to 00" in outcome.out
    assert "verified: 32 rows, no difference" in outcome.out
    again = command("migrate", **{**settings, "DATABASE_URL": fresh_database})
    assert (again.code, "schema: already at 00" in again.out) == (0, True)


def test_differences_are_named_and_phones_masked(command: Command, settings: dict[str, str]) -> None:
    command("copy", "--with-baileys", **settings)
    target = settings["DATABASE_URL"]
    execute(target, "UPDATE clients SET name = 'another' WHERE id = 4; DELETE FROM clients WHERE id = 9")
    execute(
        target,
        "ALTER TABLE whatsapp_keys DISABLE TRIGGER USER; UPDATE whatsapp_keys SET value = '1.1' WHERE value = '1.10'; "
        "INSERT INTO whatsapp_keys VALUES ('1', 'session', '79000000088.0', '1')",
    )
    masked = command("verify", "--with-baileys", **settings)
    assert masked.code == 1
    assert "different: clients 4 column name" in masked.out.splitlines()
    assert "missing: clients 9 is not in the target" in masked.out.splitlines()
    assert "different: whatsapp_keys 1, session, 7900***0770 column value" in masked.out.splitlines()
    assert "extra: whatsapp_keys 1, session, 7900***0880 is not in the source" in masked.out.splitlines()
    assert "NOT the same: 4 rows differ, of 32 rows" in masked.out
    assert PHONE not in masked.out + masked.err
    assert "another" not in masked.out + masked.err
    shown = command("verify", "--with-baileys", "--show-values", **settings)
    assert shown.code == 1
    assert f"different: whatsapp_keys 1, session, {PHONE}.0 column value: source '1.10', target '1.1'" in shown.out
    assert "column name: source 'name4', target 'another'" in shown.out


def test_the_json_document_is_whole(command: Command, settings: dict[str, str]) -> None:
    command("copy", "--with-baileys", **settings)
    execute(settings["DATABASE_URL"], "UPDATE clients SET name = 'ж' || chr(10)")
    outcome = command("verify", "--json", "--with-baileys", **settings)
    assert outcome.code == 1
    document = json.loads(outcome.out)
    assert document["ok"] is False
    (clients,) = [table for table in document["tables"] if table["table"] == "clients"]
    assert len(document["tables"]) == 12
    assert (clients["source_rows"], clients["target_rows"], clients["equal"]) == (30, 30, 0)
    assert [found["key"] for found in clients["differences"]] == [[str(number)] for number in range(1, 31)]
    assert clients["differences"][0] == {
        "kind": "different", "key": ["1"], "column": "name", "source": "name1", "target": "ж\n",
        "sqlstate": None, "withheld": False,
    }  # fmt: skip
    short = command("verify", "--tables", "clients", **settings)
    assert sum(line.startswith("different: ") for line in short.out.splitlines()) == 20
    assert "... and 10 more; all of them: botdata verify --tables clients --json" in short.out.splitlines()
    execute(settings["DATABASE_URL"], "UPDATE clients SET name = 'name' || id")
    clean = command("verify", "--json", **settings)
    assert (clean.code, json.loads(clean.out)["ok"]) == (0, True)


def test_refused_and_lost_rows_fail_the_copy_and_are_named(
    command: Command, settings: dict[str, str], source_database: str
) -> None:
    execute(source_database, "ALTER TABLE clients ALTER phone DROP NOT NULL, ALTER name TYPE text")
    execute(source_database, f"UPDATE clients SET phone = NULL, name = '{PHONE} ' || repeat('x', 300) WHERE id = 3")
    execute(
        source_database, "ALTER TABLE whatsapp_keys ALTER value DROP NOT NULL; UPDATE whatsapp_keys SET value = NULL"
    )
    outcome = command("copy", "--with-baileys", **settings)
    assert outcome.code == 1
    assert "refused: clients 3: SQLSTATE 23502 (phone)" in outcome.out or "SQLSTATE 22001" in outcome.out
    assert "refused: whatsapp_keys 1, session, 7900***0770: SQLSTATE 23502 (value)" in outcome.out
    assert "copy NOT complete: 29 rows copied, 3 in quarantine" in outcome.out
    assert PHONE not in outcome.out + outcome.err
    few = command("copy", "--max-quarantine", "1", "--with-baileys", **settings)
    assert few.code == 1
    assert "the target refuses more than 1 rows" in few.err
    assert "table:   whatsapp_keys" in few.err


def test_uninstall_drops_what_the_tool_made_and_nothing_else(command: Command, settings: dict[str, str]) -> None:
    command("copy", "--tables", "clients", **settings)
    assert command("uninstall", "--yes", **settings).out == "schema botdata: dropped\n"
    assert query(settings["DATABASE_URL"], "SELECT count(*), to_regnamespace('botdata') FROM clients") == [(30, None)]
    assert command("uninstall", "--yes", **settings).out == "schema botdata: there was none\n"


@pytest.mark.parametrize("name", ["migrate", "upgrade", "copy", "verify", "uninstall", "parity", "demo"])
def test_each_help_shows_an_example(command: Command, name: str) -> None:
    outcome = command(name, "--help")
    assert outcome.code == 0
    assert f"Example: botdata {name}" in outcome.out


def test_a_wrong_command_line(command: Command) -> None:
    assert command("copy", "--no-such-option").code == 2
    assert command("cop").code == 2
    assert command("copy", "--max-quarantine", "-1").code == 2


def test_a_row_re_created_at_the_source_is_what_a_sync_is_for(
    command: Command, settings: dict[str, str], source_database: str
) -> None:
    """The target holds the row under its old id, and so its unique keys: the command that is named next mends it."""
    assert command("copy", "--tables", "clients", **settings).code == 0
    execute(source_database, "UPDATE clients SET id = 1000 WHERE id = 3")
    outcome = command("copy", "--tables", "clients", **settings)
    assert outcome.code == 1
    assert outcome.out.endswith("has: a sync deletes such rows first.\nNext: botdata sync --tables clients\n")
    document = json.loads(command("copy", "--tables", "clients", "--json", **settings).out)
    assert document["next"] == "botdata sync --tables clients"
    assert command("sync", "--tables", "clients", **settings).code == 0
    assert command("verify", "--tables", "clients", **settings).code == 0
