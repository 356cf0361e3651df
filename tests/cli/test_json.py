"""`--json`: each command's document has the fields that docs/json.md names, and a stop gives one too."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from app.cli import main
from app.cli.command_tree import cli
from tests.cli.command import Command
from tests.migration.engine import add_clients, execute
from tests.support.page_server import PageServer
from tests.support.supabase import SupabaseServer

TEXT = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## ([a-z -]+)$\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE))


def _names(command: object, prefix: str = "") -> Iterator[str]:
    if isinstance(command, TyperGroup):
        for name, below in command.commands.items():
            yield from _names(below, f"{prefix}{name} ")
    else:
        yield prefix.strip()


COMMANDS = sorted(_names(typer.main.get_command(cli)))


def _documented(command: str) -> set[str]:
    fields = set(re.findall(r"^\| `([\w.\[\]]+)` \|", SECTIONS[command], re.MULTILINE))
    for part, whole in re.findall(
        r"^\| `([\w.\[\]]+)` \| object(?: or null)? \| as of `([\w ]+)`", SECTIONS[command], re.M
    ):
        fields |= {f"{part}.{field}" for field in _documented(whole) | {"command", "ok"}}
    return fields


def _fields(value: Any, path: str = "") -> Iterator[str]:
    """The paths of a document's fields; those of a list's members, with [] for the member."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield f"{path}.{name}".lstrip(".")
            yield from _fields(below, f"{path}.{name}")
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        for one in value:
            yield from _fields(one, f"{path}[]")


def check_document(out: str, command: str) -> dict[str, Any]:
    """Hold a document against docs/json.md, and give it."""
    document: dict[str, Any] = json.loads(out)
    assert list(document)[:2] == ["command", "ok"]
    assert document["command"] == command.partition(" --")[0]
    whole = set(re.findall(r"^\| `(\w+)` \| object of columns", SECTIONS[command], re.MULTILINE))
    fields = {name: {} if name in whole else value for name, value in document.items()}
    seen = set(_fields(fields)) - {"command", "ok"}
    documented = _documented(command)
    lists = {field[: mark.start()] for field in documented for mark in re.finditer(r"\[\]", field)}
    assert {field for field in seen if field not in lists} <= documented
    missing = {field for field in documented - seen if "." not in field and "[" not in field}
    assert not missing
    for field in documented - seen:  # a field may be absent only with the whole that it is a part of
        whole = field.rpartition(".")[0]
        assert not any(other.startswith(f"{whole}.") for other in seen), field
    return document


@pytest.fixture
def settings(pages: PageServer, source_database: str, database_url: str) -> dict[str, str]:
    add_clients(source_database, 5)
    return {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}


def test_every_command_is_documented_and_takes_the_option() -> None:
    assert sorted(name for name in SECTIONS if " --" not in name) == COMMANDS
    tree = typer.main.get_command(cli)
    assert isinstance(tree, TyperGroup)
    groups = {name for name, command in tree.commands.items() if isinstance(command, TyperGroup)}
    assert groups <= set(main._GROUPS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_the_option_and_says_so(command: Command, name: str) -> None:
    assert "--json" in command(*name.split(), "--help").out


@pytest.mark.first_command
def test_a_move_in_documents(command: Command, settings: dict[str, str], source_database: str) -> None:
    def run(*words: str, ok: bool = True) -> dict[str, Any]:
        outcome = command(*words, "--json", **settings)
        name = " ".join(words[:2]) if words[0] in main._GROUPS else words[0]
        document = check_document(outcome.out, name)
        assert (document["ok"], outcome.code) == (ok, 0 if ok else 1)
        return document

    assert run("status")["installed"] is False
    assert run("upgrade")["after"]
    execute(source_database, "ALTER TABLE clients ALTER phone DROP NOT NULL")
    execute(source_database, "UPDATE clients SET phone = NULL WHERE id = 3")
    found = run("preflight", "--tables", "clients")
    assert found["tables"] == [{"table": "clients", "source_rows": 5, "target_rows": 0}]
    tried = command("copy", "--dry-run", "--tables", "clients", "--json", **settings)
    (clients,) = check_document(tried.out, "copy --dry-run")["tables"]
    assert (tried.code, clients["refused"]) == (1, [{"sqlstate": "23502", "place": "phone", "rows": 1}])
    copied = run("copy", "--tables", "clients", ok=False)
    (clients,) = copied["tables"]
    assert (clients["source_rows"], clients["inserted"]) == (5, 4)
    assert clients["refused"] == [{"key": ["3"], "sqlstate": "23502", "place": "phone"}]
    assert copied["next"] == "botdata copy --tables clients"
    (clients,) = run("sync", "--tables", "clients", ok=False)["tables"]
    assert clients["refused"] == [{"key": ["3"], "sqlstate": "23502", "place": "phone"}]
    (clients,) = run("verify", "--tables", "clients", ok=False)["tables"]
    assert clients["differences"][0]["kind"] == "missing"
    execute(source_database, "UPDATE clients SET phone = '79000000003' WHERE id = 3")
    moved = run("migrate")
    assert [part["command"] for part in (moved["upgrade"], moved["copy"], moved["verify"])] == [
        "upgrade", "copy", "verify",
    ]  # fmt: skip
    assert run("status")["runs"][0]["state"] == "complete"
    assert run("uninstall", "--yes")["dropped"] is True


def test_quarantine_in_documents(
    command: Command, settings: dict[str, str], source_database: str, tmp_path: Path
) -> None:
    def run(*words: str, code: int = 0) -> dict[str, Any]:
        outcome = command("quarantine", *words, "--json", **settings)
        assert outcome.code == code, outcome.err
        return check_document(outcome.out, f"quarantine {words[0]}")

    execute(source_database, "ALTER TABLE clients ALTER phone DROP NOT NULL")
    execute(source_database, "UPDATE clients SET phone = NULL WHERE id = 3")
    assert command("copy", "--tables", "clients", **settings).code == 1
    (row,) = run("list")["rows"]
    assert run("show", str(row["number"]))["row"]["name"] == "name3"
    file = tmp_path / "refused.json"
    assert run("export", str(file))["rows"] == 1
    assert run("replay", code=1)["tables"][0]["refused"] == [{"key": ["3"], "sqlstate": "23502", "place": "phone"}]
    file.write_text(file.read_text().replace('"phone": null', '"phone": "79000000003"'))
    assert run("import", str(file))["changed"] == [row["number"]]
    assert run("replay")["loaded"] == 1
    assert run("list")["total"] == 0


def test_parity_in_a_document(command: Command, supabase_server: SupabaseServer, database_url: str) -> None:
    outcome = command(
        "parity", "--json", SUPABASE_URL=supabase_server.url, SUPABASE_KEY=supabase_server.service_key,
        DATABASE_URL=supabase_server.database_url,
    )  # fmt: skip
    assert len(check_document(outcome.out, "parity")["methods"]) > 10


def test_a_stop_in_a_document(command: Command, settings: dict[str, str], source_database: str) -> None:
    documented = set(re.findall(r"^\| `error\.(\w+)` \|", TEXT, re.MULTILINE))
    for words in (["copy"], ["verify"], ["migrate"], ["status"], ["upgrade"], ["uninstall", "--yes"], ["parity"]):
        outcome = command(*words, "--json", **{**settings, "DATABASE_URL": "postgresql://x@127.0.0.1:9/x"})
        document = json.loads(outcome.out)
        assert (outcome.code, document["command"], document["ok"]) == (1, words[0], False)
        assert set(document["error"]) == documented
        assert "stopped" in outcome.err
    stopped = json.loads(command("copy", "--json", **{**settings, "SUPABASE_KEY": " "}).out)
    assert stopped["error"]["message"].startswith("SUPABASE_KEY is not set")
    assert command("uninstall", "--json", **settings).code == 2


def test_only_the_document_goes_to_standard_output(command: Command, settings: dict[str, str]) -> None:
    outcome = command("migrate", "--json", **settings)
    assert outcome.out.startswith("{\n")
    assert "copy clients: 5 of 5 rows" in outcome.err
    assert command("upgrade", **settings).out.startswith("schema: already at")
