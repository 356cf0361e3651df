"""Every command with a pooler at either end: it works, or stops before it changed anything."""

import json
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.stores.postgres.poolers.probe import Pooling
from tests.cli.command import Command, Outcome
from tests.cli.test_json import COMMANDS
from tests.fixtures.cutover import Pair
from tests.migration.engine import add_clients, execute, query, row_texts
from tests.pooler.bouncer import Bouncer
from tests.support.page_server import PageServer

# As they are given, beside the command's own name.
BACK = "sync --reverse --overwrite --accept source-triggers-unseen"
LINES = [
    "migrate", "upgrade", "preflight", "copy", "copy --dry-run", "sync", "sync --follow", BACK,
    "verify", "verify --fix", "inventory", "status", "uninstall --yes", "schema replace --yes",
    "schema move-out public", "schema move-in rows.json", "schema drop t1 --yes-drop t1",
    "quarantine list", "quarantine show 1", "quarantine replay", "quarantine export out.json",
    "quarantine import rows.json",
    "cutover status", "cutover history", "cutover report", "cutover advance", "cutover back", "cutover finish",
    "cutover forget gone", "cutover table messages postgres", "cutover accept --list", "notify",
    "report", "rehearse --yes", "watch --json", "pause", "resume",
    "fleet status", "fleet upgrade --create t1", "fleet verify --sources sources.toml",
    "stream status --source postgresql://nobody@127.0.0.1:1/none", "stream drop --source postgresql://nobody@127.0.0.1:1/none",
]  # fmt: skip
# They use the data layer's connections, which work there; some of them end with 1 for what they find.
WORKING = ["parity", "parity --writes", "mirror status", "mirror drain", "mirror retry"]
# One makes servers of its own, the other has no target.
WITHOUT_ADDRESS = ["demo", "adopt"]
FROM_SOURCE = [
    "migrate",
    "preflight",
    "copy",
    "copy --dry-run",
    "sync",
    BACK,
    "verify",
    "verify --fix",
    "inventory",
    "adopt new",
    "report",
    "stream status",
    "stream drop",
]
# Those that write to the source, or keep a session there.
WRITING_THERE = [BACK, "adopt new"]
WITH_FINDINGS = ["verify", "inventory"]  # of five rows that were not copied


def test_every_command_is_among_them() -> None:
    lines = [*LINES, *WORKING, *WITHOUT_ADDRESS]
    assert [name for name in COMMANDS if not any(f"{line} ".startswith(f"{name} ") for line in lines)] == []


def test_the_page_says_which_of_them_work() -> None:
    text = (Path(__file__).parents[2] / "docs" / "scale-out.md").read_text(encoding="utf-8")
    said = {
        name: word
        for programs, word in re.findall(r"^\| (.*?) \| (works|stops) \|", text, re.MULTILINE)
        for name in re.findall(r"`botdata ([a-z -]+)`", programs)
    }
    stop = [*LINES, *WRITING_THERE]
    assert said == {
        name: "stops" if any(f"{line} ".startswith(f"{name} ") for line in stop) else "works" for name in COMMANDS
    }


def _contents(url: str) -> dict[str, Any]:
    """Every table of a database with its rows, and every index and sequence."""
    names = query(
        url,
        "SELECT format('%I.%I', n.nspname, c.relname), c.relkind FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1",
    )
    return {
        name: query(url, f"SELECT * FROM {name} ORDER BY 1") if kind in {"r", "S"} else None for name, kind in names
    }


def _works(bouncer: Bouncer, url: str) -> None:
    """An application writes through each server connection of the pool."""
    clients = [psycopg.connect(bouncer.url(url), prepare_threshold=None) for _ in range(bouncer.size)]
    for number, client in enumerate(clients):
        client.execute(
            "INSERT INTO clients (id, yclients_id, company_id, phone) VALUES (%s, 1, %s, '79')", [900 + number] * 2
        )
    for client in clients:
        client.rollback()
        client.close()


@pytest.fixture
def settings(pair: Pair, pages: PageServer, tmp_path: Path) -> dict[str, str]:
    add_clients(pair.source, 5)
    (tmp_path / "rows.json").write_text("")
    (tmp_path / "sources.toml").touch(mode=0o600)
    return {
        "SUPABASE_URL": pair.supabase.url,
        "SUPABASE_KEY": pair.supabase.service_key,
        "DATABASE_URL": pair.target,
        "CUTOVER_SPOOL": str(tmp_path / "spool"),
        "NOTIFY_COMMAND": "true",
    }


def _is_refused(outcome: Outcome, setting: str) -> bool:
    said = " ".join((outcome.err + outcome.out).split())
    return outcome.code == 1 and f"{setting} is the address of a transaction pooler" in said


@pytest.mark.parametrize("line", [*LINES, *WORKING])
def test_at_the_target(
    command: Command, settings: dict[str, str], pair: Pair, transaction_pooler: Bouncer, line: str
) -> None:
    url = pair.target
    settings["DATABASE_URL"] = transaction_pooler.url(url)
    before = transaction_pooler.sessions(url)
    rows = _contents(url)
    outcome = command(*line.split(), **settings)
    if line in WORKING:
        assert "transaction pooler" not in outcome.err + outcome.out
        assert "stopped" not in outcome.err, outcome.err
    else:
        assert _is_refused(outcome, "DATABASE_URL"), outcome
        assert "127.0.0.1:5432 without pgbouncer=true (the server itself)" in outcome.err + outcome.out
        assert _contents(url) == rows
    assert transaction_pooler.sessions(url) == before
    _works(transaction_pooler, url)


def test_an_empty_target_stays_empty(command: Command, fresh_database: str, transaction_pooler: Bouncer) -> None:
    url = transaction_pooler.url(fresh_database)
    assert _is_refused(command("upgrade", DATABASE_URL=url), "DATABASE_URL")
    assert _contents(fresh_database) == {}


@pytest.mark.parametrize("line", [*FROM_SOURCE, pytest.param("rehearse --yes", marks=pytest.mark.soak)])
def test_at_the_source(
    command: Command, source_database: str, database_url: str, transaction_pooler: Bouncer, line: str
) -> None:
    add_clients(source_database, 5)
    if line == "verify --fix":
        command("copy", "--source", source_database, DATABASE_URL=database_url)
        execute(database_url, "DELETE FROM clients WHERE id = 3")
    before = transaction_pooler.sessions(source_database)
    rows = {url: _contents(url) for url in (source_database, database_url)}
    pooled = transaction_pooler.url(source_database)
    outcome = command(*line.split(), "--source", pooled, DATABASE_URL=database_url)
    if line in WRITING_THERE:
        assert _is_refused(outcome, "--source"), outcome
        assert {url: _contents(url) for url in rows} == rows
    else:
        assert "transaction pooler" not in outcome.err + outcome.out
        assert "stopped" not in outcome.err, outcome.err
        assert outcome.code == (1 if line in WITH_FINDINGS else 0), outcome
        assert _contents(source_database) == rows[source_database]
    if line in {"migrate", "copy", "sync", "verify --fix"}:
        assert row_texts(database_url, "clients") == row_texts(source_database, "clients")
    assert transaction_pooler.sessions(source_database) == before
    _works(transaction_pooler, source_database)


@pytest.mark.parametrize("parameters", [{}, {"pgbouncer": "true"}])
def test_a_session_pooler_at_both_ends(
    command: Command,
    source_database: str,
    database_url: str,
    session_pooler: Bouncer,
    parameters: dict[str, str],
) -> None:
    add_clients(source_database, 5)
    settings = {
        "DATABASE_URL": session_pooler.url(database_url, **parameters),
        "MIGRATION_SOURCE": session_pooler.url(source_database, **parameters),
    }
    for line in ("upgrade", "preflight", "copy", "sync", "verify", BACK, "status"):
        outcome = command(*line.split(), **settings)
        assert outcome.code == 0, (line, outcome)
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


def test_a_server_of_which_the_address_says_that_it_is_a_pooler(
    command: Command, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 5)
    settings = {
        "DATABASE_URL": f"{database_url}&pgbouncer=true",
        "MIGRATION_SOURCE": f"{source_database}&pgbouncer=true",
    }
    for line in ("migrate", "status"):
        outcome = command(*line.split(), **settings)
        assert outcome.code == 0, (line, outcome)


def test_preflight_names_it(
    command: Command, settings: dict[str, str], pair: Pair, transaction_pooler: Bouncer
) -> None:
    pooled = transaction_pooler.url(pair.target)
    found = json.loads(command("preflight", "--json", **{**settings, "DATABASE_URL": pooled}).out)
    named = [one["code"] for one in found["findings"] if "transaction pooler" in one["message"]]
    assert named == ["target-unreachable"]


def test_a_pooler_on_a_servers_port(command: Command, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "port=5432" not in database_url:
        pytest.skip("the server has another port")

    async def find_pooling(*_: object, **__: object) -> Pooling:
        return Pooling.TRANSACTION

    monkeypatch.setattr("app.stores.postgres.session.find_pooling", find_pooling)
    told = "set DATABASE_URL to another address (the server itself), then: botdata status"
    assert told in command("status", DATABASE_URL=database_url).err
