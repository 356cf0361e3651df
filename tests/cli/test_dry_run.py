"""`botdata copy --dry-run` as a person uses it."""

import json

from tests.cli.command import Command
from tests.migration.engine import add_clients, execute, row_texts
from tests.migration.test_replay import fill_faulty
from tests.support.page_server import PageServer

_ACCEPTED = ("--accept", "source-type-differs", "--accept", "source-duplicates")


def test_what_would_be_refused(command: Command, pages: PageServer, source_database: str, database_url: str) -> None:
    settings = {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}
    fill_faulty(source_database)
    execute(source_database, "ALTER TABLE whatsapp_keys ALTER value DROP NOT NULL")
    execute(source_database, "INSERT INTO whatsapp_keys VALUES ('1', 'session', '79123456789.0', NULL)")
    chosen = ("copy", "--dry-run", "--tables", "clients,whatsapp_keys", *_ACCEPTED)
    outcome = command(*chosen, "--max-quarantine", "5", **settings)
    assert outcome.code == 1
    assert "would be refused: 2 rows of clients: SQLSTATE 22003: 40; 41\n" in outcome.out
    assert "would be refused: 1 rows of whatsapp_keys: SQLSTATE 23502 (value): 1, session, 7912***7890\n" in outcome.out
    assert "dry run: 65 rows tried, 8 would be refused\nThat is more than --max-quarantine (5)" in outcome.out
    assert "Not checked: foreign keys; conflicts with rows that the target holds already; triggers" in outcome.out
    assert "The copy should take about " in outcome.out
    for kept in ("79000000041", "79123456789", "яяя", "yesterday", "3000000000"):
        assert kept not in outcome.out + outcome.err
    tried = json.loads(command(*chosen, "--json", **settings).out)
    assert (tried["command"], tried["dry_run"], tried["ok"]) == ("copy", True, False)
    (clients, keys) = tried["tables"]
    assert {"sqlstate": "22003", "place": None, "rows": 2} in clients["refused"]
    assert keys["examples"] == [{"key": ["1", "session", "7912***7890"], "sqlstate": "23502", "place": "value"}]
    assert row_texts(database_url, "clients") == []


def test_nothing_would_be(command: Command, pages: PageServer, source_database: str, database_url: str) -> None:
    settings = {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}
    add_clients(source_database, 300)
    outcome = command("copy", "--dry-run", "--sample", "10", "--tables", "clients", **settings)
    assert outcome.code == 0
    assert "This was a sample: at most 10 rows of each table, picked at random over all keys.\n" in outcome.out
    assert "dry run: 10 rows tried, none would be refused. Next: botdata copy --tables clients\n" in outcome.out
    assert command("copy", "--sample", "10", **settings).code == 2
