"""From a target that holds Phase 0.8 to a verified copy, by the commands that the messages name; killed on the way."""

import io
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.command import Command, start, wait_for_sessions_to_end
from tests.cli.test_json import check_document
from tests.migration.engine import add_clients, execute, row_texts, value
from tests.schema import phase08
from tests.support.page_server import PageServer

_SECONDS = 60


@pytest.fixture
def settings(pages: PageServer, source_database: str, fresh_database: str) -> Iterator[dict[str, str]]:
    """A source with rows, and a target with Phase 0.8 and a login that goes on writing."""
    phase08.fill(fresh_database)
    add_clients(source_database, 30)
    execute(
        source_database,
        "INSERT INTO companies (id, company_id, title) VALUES (1, 962302, 'Ё'); "
        "INSERT INTO staff (yclients_id, company_id, name) VALUES (1, 1, 'a')",
    )
    with phase08.Login(fresh_database) as login:
        yield {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": fresh_database}
        login.wait_for_writes()


def following(out: str, err: str) -> list[str]:
    """The words of the next command that a message names."""
    named = re.findall(r"^(?:Next:|.*Next:|  next:)\s+botdata (.+)$", err or out, re.MULTILINE)
    return str(named[-1]).split() if named else []


def test_from_the_first_preflight_to_a_verified_copy(
    command: Command, settings: dict[str, str], source_database: str
) -> None:
    target = settings["DATABASE_URL"]
    before = phase08.untouched(target)
    steps: list[str] = []
    words = ["preflight"]
    for _ in range(8):
        outcome = command(*words, **settings)
        steps.append(" ".join(words))
        if "verified" in outcome.out:
            break
        words = following(outcome.out, outcome.err if outcome.code and "next:" in outcome.err else "")
    assert steps == ["preflight", "schema replace", "schema replace --yes", "migrate"]
    assert outcome.code == 0
    assert "verified: 32 rows, no difference" in outcome.out
    for table in ("companies", "clients", "staff"):
        assert row_texts(target, table) == row_texts(source_database, table)
    assert phase08.untouched(target) == before
    (backup,) = Path().glob("botdata-backup-*")
    assert (backup / "README.md").exists()
    again = command("schema", "replace", **settings)
    assert (again.code, "nothing to replace; already at" in again.out) == (0, True)
    assert f"backup of an earlier start: {backup} (complete)" in again.out


def test_copy_and_migrate_stop_at_it(command: Command, settings: dict[str, str]) -> None:
    before = phase08.texts(settings["DATABASE_URL"], *phase08.TABLES)
    for step in ("copy", "migrate"):
        outcome = command(step, **settings)
        assert outcome.code == 1
        assert "Phase 0.8, an earlier schema (companies.name where title should be" in outcome.err
        assert following("", outcome.err) == ["schema", "replace"]
    assert phase08.texts(settings["DATABASE_URL"], *phase08.TABLES) == before
    assert value(settings["DATABASE_URL"], "SELECT to_regnamespace('botdata') IS NULL")


def test_each_command_on_the_way_gives_its_document(command: Command, settings: dict[str, str]) -> None:
    def run(*words: str, name: str, code: int) -> dict[str, object]:
        outcome = command(*words, "--json", **settings)
        assert outcome.code == code
        return check_document(outcome.out, name)

    found = run("preflight", name="preflight", code=1)
    assert found["next"] == "botdata schema replace"
    shown = run("schema", "replace", name="schema replace", code=1)
    assert (shown["replaced"], shown["next"]) == (False, "botdata schema replace --yes")
    done = run("schema", "replace", "--yes", name="schema replace", code=0)
    assert (done["replaced"], done["next"]) == (True, "botdata migrate")
    nothing = run("schema", "replace", name="schema replace", code=0)
    assert (nothing["schema"], nothing["next"]) == (None, "botdata status")
    clear = run("preflight", name="preflight", code=0)
    assert clear["next"] == "botdata copy"


def test_a_stop_in_a_document(command: Command, settings: dict[str, str]) -> None:
    execute(settings["DATABASE_URL"], "CREATE TABLE own_notes (id integer)")
    outcome = command("schema", "replace", "--yes", "--json", **settings)
    assert outcome.code == 1
    stopped = json.loads(outcome.out)["error"]
    assert "not known: own_notes" in stopped["message"]
    assert "--keep own_notes" in stopped["next"]


class _Keyboard(io.StringIO):
    """What a person types at a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_person_types_the_name_of_the_database(
    command: Command, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = settings["DATABASE_URL"]
    name = value(target, "SELECT current_database()")
    before = phase08.texts(target, *phase08.TABLES)
    for typed in ("", "yes", f"{name}x"):
        monkeypatch.setattr("sys.stdin", _Keyboard(f"{typed}\n"))
        outcome = command("schema", "replace", **settings)
        assert outcome.code == 1
        assert f"type the database's name ({name})" in outcome.out
        assert "Nothing was changed. Next: botdata schema replace --yes" in outcome.out
    assert phase08.texts(target, *phase08.TABLES) == before
    monkeypatch.setattr("sys.stdin", _Keyboard(f"{name}\n"))
    outcome = command("schema", "replace", **settings)
    assert (outcome.code, "schema: replaced" in outcome.out) == (0, True)


def test_postgresql_is_the_store_already(command: Command, settings: dict[str, str]) -> None:
    outcome = command("schema", "replace", "--yes", **{**settings, "USE_REPOSITORY_PATTERN": "true"})
    assert outcome.code == 1
    assert "PostgreSQL is the bot's store already" in outcome.err


# Where it is killed: what another session holds so that it waits there, and the statement that it waits in.
_PLACES = {
    "while an index is made": (
        "UPDATE whatsapp_keys SET value = value WHERE key_id = '30'",
        "CREATE INDEX CONCURRENTLY",
    ),
    "while it takes the locks": ("UPDATE staff SET name = name", "LOCK TABLE"),
    "while it drops": ("SELECT FROM clients", "DROP TABLE"),
    "while it upgrades": ("CREATE TABLE actions (id integer)", "CREATE TABLE actions"),
}


@pytest.mark.parametrize("place", [*_PLACES, "while it backs up"])
def test_killed_at_any_step_it_can_be_run_again(
    command: Command, settings: dict[str, str], source_database: str, tmp_path: Path, place: str
) -> None:
    target = settings["DATABASE_URL"]
    before, session = phase08.texts(target, *phase08.TABLES), phase08.untouched(target)
    arguments = ["schema", "replace", "--yes", "--pg-dump", "none"]
    with ExitStack() as stack:
        if place in _PLACES:
            statement, waiting = _PLACES[place]
            stack.enter_context(phase08.held(target, statement))
        else:
            version = value(target, "SELECT current_setting('server_version_num')::integer / 10000")
            program = tmp_path / "pg_dump"
            program.write_text(
                f"#!/bin/sh\n[ $1 = --version ] && echo 'x (y) {version}.1' && exit\n"
                f"echo $$ > {tmp_path}/pid\nexec sleep 60\n"
            )
            program.chmod(0o700)
            (tmp_path / "pg_restore").symlink_to(program)
            arguments[-1] = str(program)
        with start(*arguments, directory=tmp_path, LOCK_TIMEOUT="50", **settings) as process:
            try:
                _wait(process, target, None if place not in _PLACES else waiting, tmp_path / "pid")
            finally:
                process.kill()
                process.communicate(timeout=_SECONDS)
            assert process.returncode == -signal.SIGKILL
        if place not in _PLACES:
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    wait_for_sessions_to_end(target)
    assert phase08.texts(target, *phase08.TABLES) == before
    assert following(command("preflight", **settings).out, "") == ["schema", "replace"]
    outcome = command("schema", "replace", "--yes", **settings)
    assert outcome.code == 0, outcome.err
    assert "(NOT complete, and can be deleted)" in outcome.out or place == "while it drops" or "upgrades" in place
    assert phase08.untouched(target) == session
    assert command("migrate", **settings).code == 0
    assert row_texts(target, "clients") == row_texts(source_database, "clients")


def _wait(process: subprocess.Popen[str], target: str, statement: str | None, marker: Path) -> None:
    """Until the process waits in the statement, or its backup program has left the marker."""
    for _ in range(_SECONDS * 20):
        if process.poll() is not None:
            raise AssertionError(process.communicate()[1])
        if statement is None:
            if marker.exists() and marker.read_text():
                return
        elif value(
            target,
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'botdata schema replace' "
            "AND datname = current_database() AND wait_event_type = 'Lock' AND strpos(query, %s) > 0)",
            [statement],
        ):
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to the place")
