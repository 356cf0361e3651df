"""`botdata quarantine ...` as a person uses it: what it prints, what it masks, and its exit codes."""

import json
import re
import stat
from pathlib import Path

import pytest

from tests.cli.command import Command
from tests.migration.engine import execute, value
from tests.migration.test_replay import fill_faulty
from tests.support.page_server import PageServer

_PHONE = "79000000041"
_OWNER = "79123456789.0"


@pytest.fixture
def settings(pages: PageServer, source_database: str, database_url: str, command: Command) -> dict[str, str]:
    """A target with seven clients and one WhatsApp key in quarantine."""
    fill_faulty(source_database)
    execute(source_database, "ALTER TABLE whatsapp_keys ALTER value DROP NOT NULL")
    execute(source_database, f"INSERT INTO whatsapp_keys VALUES ('1', 'session', '{_OWNER}', NULL)")
    found = {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}
    accepted = ("--accept", "source-type-differs", "--accept", "source-duplicates")
    assert command("copy", "--tables", "clients,whatsapp_keys", *accepted, **found).code == 1
    return {"DATABASE_URL": database_url}


def _number(settings: dict[str, str], key: str) -> str:
    return str(value(settings["DATABASE_URL"], "SELECT number FROM botdata.quarantine WHERE key = %s", [[key]]))


def test_list_shows_each_reason_with_its_count(command: Command, settings: dict[str, str]) -> None:
    outcome = command("quarantine", "list", **settings)
    assert outcome.code == 0
    lines = [line.split() for line in outcome.out.splitlines()]
    assert ["clients", "22003", "2"] in lines
    assert ["clients", "23502", "phone", "1"] in lines
    assert ["whatsapp_keys", "23502", "value", "1"] in lines
    number = _number(settings, "18")
    assert [number, "clients", "18", "23505", "clients_yclients_company_unique"] in [line[:5] for line in lines]
    assert "1, session, 7912***7890" in outcome.out
    assert "quarantine: 8 rows" in outcome.out
    for kept in (_PHONE, _OWNER, "яяя", "yesterday", "3000000000"):
        assert kept not in outcome.out + outcome.err


def test_list_of_some(command: Command, settings: dict[str, str]) -> None:
    outcome = command("quarantine", "list", "--tables", "clients", "--limit", "2", **settings)
    assert "... and 5 more; all of them: --limit 7" in outcome.out
    assert "whatsapp_keys" not in outcome.out
    assert "botdata quarantine replay --tables clients" in outcome.out
    outcome = command("quarantine", "list", "--tables", "klients", **settings)
    assert (outcome.code, "no such table: klients" in outcome.err) == (1, True)
    assert command("quarantine", "list", "--tables", " , ", **settings).code == 2


def test_list_as_json(command: Command, settings: dict[str, str]) -> None:
    listed = json.loads(command("quarantine", "list", "--json", **settings).out)
    assert (listed["command"], listed["ok"], listed["total"], len(listed["rows"])) == ("quarantine list", True, 8, 8)
    assert {"table": "clients", "sqlstate": "22003", "place": None, "rows": 2} in listed["reasons"]
    assert listed["rows"][-1]["key"] == ["1", "session", "7912***7890"]
    assert set(listed["rows"][0]) == {"number", "table", "key", "sqlstate", "place", "refused_at"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", listed["rows"][0]["refused_at"])


def test_show_gives_every_value(command: Command, settings: dict[str, str]) -> None:
    number = _number(settings, "41")
    outcome = command("quarantine", "show", number, **settings)
    assert outcome.code == 0
    assert f"row {number}: clients 41" in outcome.out
    assert 'SQLSTATE 22003: value "3000000000" is out of range for type integer' in outcome.out
    assert f"'{_PHONE}'" in outcome.out
    shown = json.loads(command("quarantine", "show", number, "--json", **settings).out)
    assert (shown["command"], shown["row"]["visit_count"]) == ("quarantine show", "3000000000")
    outcome = command("quarantine", "show", "99999", **settings)
    assert (outcome.code, "not in quarantine: 99999" in outcome.err) == (1, True)
    assert command("quarantine", "show", "0", **settings).code == 2


def test_export_edit_import_replay(command: Command, settings: dict[str, str], tmp_path: Path) -> None:
    outcome = command("quarantine", "export", "refused.json", **settings)
    assert (outcome.code, "8 rows written to refused.json" in outcome.out) == (0, True)
    file = tmp_path / "refused.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert _PHONE in file.read_text("utf-8")
    assert command("quarantine", "export", "refused.json", **settings).code == 1
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    (row,) = [one for one in rows if one["key"] == ["41"]]
    row["row"]["visit_count"] = "3"
    file.write_text(json.dumps(row), "utf-8")
    outcome = command("quarantine", "import", "refused.json", **settings)
    assert (outcome.code, outcome.out.splitlines()[0]) == (0, "1 rows changed, 0 the same as before")
    assert json.loads(command("quarantine", "import", "refused.json", "--json", **settings).out) == {
        "command": "quarantine import", "ok": True, "changed": [], "unchanged": [row["number"]],
    }  # fmt: skip
    outcome = command("quarantine", "replay", str(row["number"]), **settings)
    assert (outcome.code, "1 of 1 rows loaded, 7 remain in quarantine" in outcome.out) == (0, True)
    assert value(settings["DATABASE_URL"], "SELECT visit_count FROM clients WHERE id = 41") == 3


def test_replay_of_rows_still_refused(command: Command, settings: dict[str, str]) -> None:
    outcome = command("quarantine", "replay", **settings)
    assert outcome.code == 1
    assert "refused: clients 17: SQLSTATE 23502 (phone)" in outcome.out
    assert "refused: whatsapp_keys 1, session, 7912***7890: SQLSTATE 23502 (value)" in outcome.out
    assert "replay: 0 of 8 rows loaded, 8 remain in quarantine" in outcome.out
    for kept in (_PHONE, _OWNER, "яяя", "yesterday", "3000000000"):
        assert kept not in outcome.out + outcome.err
    replayed = json.loads(command("quarantine", "replay", "--json", **settings).out)
    assert (replayed["ok"], replayed["loaded"], replayed["remaining"]) == (False, 0, 8)
    assert {"key": ["18"], "sqlstate": "23505", "place": "clients_yclients_company_unique"} in (
        replayed["tables"][0]["refused"]
    )


def test_replay_refuses_where_the_bot_writes(command: Command, settings: dict[str, str]) -> None:
    outcome = command("quarantine", "replay", **settings, USE_REPOSITORY_PATTERN="true")
    assert outcome.code == 1
    assert "botdata quarantine replay --overwrite" in outcome.err


def test_mistakes_in_the_file_are_named_by_line(command: Command, settings: dict[str, str], tmp_path: Path) -> None:
    outcome = command("quarantine", "export", "not edited.json", **settings)
    assert outcome.out.endswith("; botdata quarantine import 'not edited.json'\n")
    (tmp_path / "not edited.json").write_text("{}")
    outcome = command("quarantine", "import", "not edited.json", **settings)
    assert outcome.err.endswith("then: botdata quarantine import 'not edited.json'\n")
    (tmp_path / "edited.json").write_text('\n{"number": 1}')
    outcome = command("quarantine", "import", "edited.json", **settings)
    assert outcome.code == 1
    assert "edited.json cannot be taken:\nline 2: key, row, table is missing\n" in outcome.err
    stopped = json.loads(command("quarantine", "import", "edited.json", "--json", **settings).out)
    assert (stopped["ok"], stopped["error"]["step"]) == (False, "quarantine import")
    assert command("quarantine", "import", "none.json", **settings).code == 2
    outcome = command("quarantine", "export", "none/refused.json", **settings)
    assert (outcome.code, "No such file or directory" in outcome.err) == (1, True)


def test_an_empty_quarantine_says_so(command: Command, database_url: str, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": database_url}
    assert command("quarantine", "list", **settings).out == "quarantine: empty\n"
    assert command("quarantine", "replay", **settings).out == "quarantine: empty; nothing to replay\n"
    outcome = command("quarantine", "export", "none.json", **settings)
    assert (outcome.code, outcome.out) == (0, "quarantine: empty; no file was made\n")
    assert list(tmp_path.iterdir()) == []
