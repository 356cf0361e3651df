"""`botdata sync` as a user runs it: words, documents, exit codes, signals."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.command import Command, start, wait_beside, wait_for_sessions_to_end
from tests.migration.engine import add_clients, execute, query, row_texts, value
from tests.notify.receiver import Receiver
from tests.support import faults
from tests.support.faults import Delivery, Fault, Request
from tests.support.page_server import PageServer

_BACK = ["--reverse", "--accept", "source-triggers-unseen"]
_SECONDS = 60


@pytest.fixture
def settings(pages: PageServer, source_database: str, database_url: str) -> dict[str, str]:
    add_clients(source_database, 30)
    return {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}


@contextmanager
def _running(*arguments: str, directory: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    with start("sync", *arguments, directory=directory, **environment) as process:
        try:
            yield process
        finally:
            process.kill()


def test_says_what_it_did_and_what_is_next(command: Command, settings: dict[str, str], source_database: str) -> None:
    outcome = command("sync", "--tables", "clients", **settings)
    assert outcome.code == 0, outcome.err
    assert re.search(r"sync complete: 30 rows changed, 0 deleted in [\d.]+ s, 1 round; the state is that", outcome.out)
    assert "Next: botdata verify --tables clients\n" in outcome.out
    execute(source_database, "UPDATE clients SET notes = 'x' WHERE id = 3; DELETE FROM clients WHERE id = 4")
    planned = command("sync", "--dry-run", **settings)
    assert "dry run: 1 rows would be changed, 1 would be deleted" in planned.out
    assert value(settings["DATABASE_URL"], "SELECT count(*) FROM clients") == 30
    outcome = command("sync", "--until-clean", "--interval", "0.1", "--json", **settings)
    document = json.loads(outcome.out)
    assert (document["ok"], document["rounds"]) == (True, 3)
    (clients,) = [table for table in document["tables"] if table["table"] == "clients"]
    assert (clients["inserted"], clients["updated"], clients["deleted"]) == (0, 1, 1)
    lines = re.findall(r"round (\d): (\d+) changed, (\d+) deleted; lag [\d.]+ s; remains: nothing", outcome.err)
    assert lines == [("1", "1", "1"), ("2", "0", "0")]


def test_what_is_refused_remains(command: Command, settings: dict[str, str], database_url: str) -> None:
    execute(database_url, "ALTER TABLE clients ADD CONSTRAINT few CHECK (id <> 7)")
    outcome = command("sync", "--tables", "clients", **settings)
    assert outcome.code == 1
    assert "refused: clients 7: SQLSTATE 23514 (few)" in outcome.out
    assert "sync NOT complete: 29 rows changed" in outcome.out
    assert outcome.out.rstrip().endswith("Next: botdata sync --tables clients")
    execute(database_url, "DELETE FROM clients WHERE id < 20")
    execute(database_url, "ALTER TABLE clients DROP CONSTRAINT few, ADD CONSTRAINT none_of_these CHECK (id > 19)")
    outcome = command("sync", "--tables", "clients", "--max-quarantine", "5", **settings)
    assert outcome.code == 1
    assert "botdata sync stopped: the target refuses more than 5 rows" in outcome.err
    assert "next:    botdata preflight --tables clients, which compares the schemas, or a higher" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "flag", "code", "told"),
    [
        (["--follow", "--until-clean"], "false", 2, "goes on until stopped"),
        (["--max-deletes", "-1"], "false", 2, "max-deletes"),
        ([], "true", 1, "PostgreSQL is the bot's store already"),
        (_BACK, "false", 1, "would overwrite what the bot writes to Supabase"),
        (_BACK, "true", 1, "never brought over from it: clients (30)"),
    ],
)
def test_is_refused_before_anything_is_written(
    command: Command, settings: dict[str, str], arguments: list[str], flag: str, code: int, told: str
) -> None:
    outcome = command("sync", *arguments, **settings, USE_REPOSITORY_PATTERN=flag)
    assert outcome.code == code
    assert told in " ".join(outcome.err.split())
    assert value(settings["DATABASE_URL"], "SELECT count(*) FROM clients") == 0


def test_deletions_past_the_limit(command: Command, settings: dict[str, str], source_database: str) -> None:
    command("sync", **settings)
    execute(source_database, "DELETE FROM clients WHERE id > 10")
    outcome = command("sync", "--max-deletes", "19", **settings)
    assert outcome.code == 1
    assert "20 rows of the target are not in the source and would be deleted" in outcome.err
    assert "next:    botdata sync --max-deletes 20, if those rows were deleted on purpose" in outcome.err
    assert value(settings["DATABASE_URL"], "SELECT count(*) FROM clients") == 30
    assert command("sync", "--max-deletes", "20", **settings).code == 0
    assert value(settings["DATABASE_URL"], "SELECT count(*) FROM clients") == 10


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_follow_ends_with_a_report(
    settings: dict[str, str],
    source_database: str,
    database_url: str,
    receiver: Receiver,
    tmp_path: Path,
    how: signal.Signals,
) -> None:
    silent = "VALUES ('bot:1:aaaaaa', 'off', 'CUTOVER_STAGE=database', now() - interval '1 h')"
    execute(database_url, f"INSERT INTO botdata.processes (name, stage, chosen_by, reported_at) {silent}")
    told = {"NOTIFY_URL": receiver.url}
    with _running("--follow", "--interval", "0.2", directory=tmp_path, **settings, **told) as process:
        wait_beside(process, lambda: _rows(database_url) == 30 and "process_silent" in receiver.kinds)
        execute(source_database, "UPDATE clients SET notes = 'while it follows'")
        wait_beside(
            process, lambda: value(database_url, "SELECT bool_and(notes = 'while it follows') FROM clients") is True
        )
        process.send_signal(how)
        out, err = process.communicate(timeout=_SECONDS)
    assert (process.returncode, "Traceback" in err) == (0, False), err
    assert re.search(r"round 1: 30 changed, 0 deleted; lag [\d.]+ s; remains: nothing", err)
    assert "30 changed" in err.partition("round 2")[2]
    assert len(err.splitlines()) < 12  # quiet rounds are not all told
    assert re.search(r"sync complete: 60 rows changed, 0 deleted in [\d.]+ s, \d+ rounds", out)
    assert query(database_url, "SELECT command, state FROM botdata.runs") == [("sync", "complete")]
    assert (sorted(receiver.kinds), receiver.url in err) == (["process_silent", "step_begun", "step_done"], False)


def _rows(url: str) -> int:
    return int(value(url, "SELECT count(*) FROM clients"))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_stopped_in_the_middle_the_same_command_goes_on(
    command: Command,
    pages: PageServer,
    settings: dict[str, str],
    source_database: str,
    database_url: str,
    tmp_path: Path,
    how: signal.Signals,
) -> None:
    command("sync", **settings)
    execute(source_database, "UPDATE clients SET notes = 'changed'; DELETE FROM clients WHERE id = 30")
    pages.max_rows = 10
    hanging = faults.delivered(Delivery.NEVER)
    reached: list[int] = []

    def hang(request: Request) -> Fault | None:
        if (request.parameter("id") or "").startswith("in.") and "_1:" in (request.parameter("select") or ""):
            reached.append(request.number)
            return hanging if len(reached) == 2 else None
        return None

    pages.hook = hang
    with _running(directory=tmp_path, **settings) as process:
        wait_beside(process, lambda: len(reached) == 2)
        process.send_signal(how)
        _, err = process.communicate(timeout=_SECONDS)
    wait_for_sessions_to_end(database_url)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert err.endswith("Stopped. What was done is kept; the same command goes on from there.\n")
    assert value(database_url, "SELECT count(*) FROM clients WHERE notes = 'changed'") == 10
    pages.hook = lambda request: None
    outcome = command("sync", "--json", **settings)
    assert outcome.code == 0, outcome.err
    clients = json.loads(outcome.out)["tables"][
        [t["table"] for t in json.loads(outcome.out)["tables"]].index("clients")
    ]
    assert (clients["updated"], clients["deleted"]) == (19, 0)
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")
    assert query(database_url, "SELECT id, state FROM botdata.runs ORDER BY id") == [(1, "complete"), (2, "complete")]
