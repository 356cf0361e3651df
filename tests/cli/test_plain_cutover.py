"""docs/plain-cutover.md at production size: its commands in their order, there and back."""

import re
from pathlib import Path

import pytest

from app.embedded.salon import fill_salon
from tests.cli.command import Command
from tests.fixtures.sources import TABLES
from tests.migration.engine import execute, row_texts, value
from tests.support.page_server import PageServer

_TEXT = (Path(__file__).parents[2] / "docs" / "plain-cutover.md").read_text(encoding="utf-8")
_BUSINESS = """
UPDATE clients SET notes = 'written by the bot', visit_history = '[{"sum": 1500.50}]' WHERE id % 10 = 3;
INSERT INTO clients (yclients_id, company_id, phone, name) SELECT n, 962302, '79990000000', 'new ' || n
    FROM generate_series(88000001, 88000020) n;
DELETE FROM bookings WHERE id IN (SELECT id FROM bookings ORDER BY id LIMIT 5);
UPDATE dialog_contexts SET data = '{"step": "time", "at": 1.10}', updated_at = now();
INSERT INTO messages (company_id, direction, content) SELECT 962302, 'incoming', 'text ё 😀 ' || n
    FROM generate_series(1, 30) n;
"""
_BAILEYS = """
UPDATE whatsapp_keys SET value = '{"private": "changed"}' WHERE key_id IN (SELECT key_id FROM whatsapp_keys LIMIT 40);
DELETE FROM whatsapp_keys WHERE ctid IN (SELECT ctid FROM whatsapp_keys OFFSET 100 LIMIT 60);
INSERT INTO whatsapp_keys (company_id, key_type, key_id, value)
    SELECT company_id, 'pre-key', gen_random_uuid(), '{"a": [1.0]}' FROM whatsapp_auth, generate_series(1, 60);
"""


def _commands(section: str) -> list[str]:
    part = re.split(r"^## ", _TEXT, flags=re.MULTILINE)
    (text,) = [one for one in part if one.startswith(section)]
    return re.findall(r"^ *\$ botdata (.*)$", text, re.MULTILINE)


def _same(source: str, target: str) -> None:
    for name in TABLES.split(", "):
        assert row_texts(target, name) == row_texts(source, name), name


@pytest.mark.parametrize("over", ["REST", "a connection"])
def test_there_and_back(
    command: Command, pages: PageServer, source_database: str, fresh_database: str, over: str
) -> None:
    rows = fill_salon(source_database)
    assert sum(rows.values()) == 1490 + 1128
    environment = {
        "SUPABASE_URL": pages.url,
        "SUPABASE_KEY": pages.service_key,
        "DATABASE_URL": fresh_database,
        "MIGRATION_SOURCE": "supabase" if over == "REST" else source_database,
    }

    def run(line: str, **flag: str) -> str:
        outcome = command(*line.split(), **{**environment, **flag})
        assert outcome.code == 0, outcome.out + outcome.err
        return outcome.out

    first, follow = _commands("Before")
    assert follow.endswith("--follow")
    run(first)
    execute(source_database, _BUSINESS + _BAILEYS)
    there = _commands("There")
    assert [line.split()[0] for line in there] == ["sync", "verify"]
    said = [run(line) for line in there]
    assert "sync complete:" in said[0]
    assert "no difference" in said[1]
    _same(source_database, fresh_database)

    in_use = {"USE_REPOSITORY_PATTERN": "true"}
    assert command(*there[0].split(), **environment, **in_use).code == 1
    execute(fresh_database, _BUSINESS.replace("88000", "99000").replace("% 10 = 3", "% 10 = 7") + _BAILEYS)
    back = _commands("Back")
    assert [line.split()[0] for line in back] == ["sync", "verify"]
    if over != "REST":  # the triggers are seen, and each is accepted by its name
        refused = command(*back[0].split(), **environment, **in_use)
        assert refused.code == 1
        accepted = re.findall(r"--accept (source-trigger:\S+)", refused.err)
        assert accepted == [
            f"source-trigger:{one}.trigger_{one}_updated_at" for one in ("whatsapp_auth", "whatsapp_keys")
        ]
        back[0] += "".join(f" --accept {one}" for one in accepted)
    said = [run(line, **in_use) for line in back]
    _same(source_database, fresh_database)
    for statement in re.findall(r"SELECT setval.*;", said[0]):
        execute(source_database, statement)
    highest = value(source_database, "SELECT max(id) FROM clients")
    assert value(source_database, "SELECT nextval('clients_id_seq')") == highest + 1
    assert ("setval" in said[0]) == (over == "REST")
    assert command(*back[0].split(), **environment).code == 1
