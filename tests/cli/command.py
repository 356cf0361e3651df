"""Runs `botdata`: in this process, and as a user does, in one of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from app.cli.main import run
from app.cli.render import console
from tests.support.in_process import short_sleep, tree_of_commands
from tests.support.models import described_here

BOTDATA = Path(sys.executable).with_name("botdata")
VARIABLES = (
    "SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL", "DATABASE_SCHEMA", "DATABASE_READ_URL", "MIGRATION_SOURCE",
    "USE_REPOSITORY_PATTERN", "USE_LEGACY_SUPABASE", "LOG_DATABASE_CALLS",
    "CUTOVER_STAGE", "CUTOVER_HOLD", "CUTOVER_SPOOL", "CUTOVER_ID_GAP",
    "NOTIFY_URL", "NOTIFY_COMMAND",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a command printed, and its exit code."""

    code: object
    out: str
    err: str


class Command:
    """The command in this process, without a terminal, with only the settings given and no `.env`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], directory: Path) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.chdir(directory)
        monkeypatch.setattr("signal.signal", lambda *_: None)  # the handler is the process's own
        monkeypatch.setenv("COLUMNS", "200")

    def __call__(self, *arguments: str, **environment: str) -> Outcome:
        for variable in VARIABLES:
            self._monkeypatch.delenv(variable, raising=False)
        for variable, text in environment.items():
            self._monkeypatch.setenv(variable, text)
        self._monkeypatch.setattr(sys, "argv", ["botdata", *arguments])
        self._monkeypatch.setattr(console(), "stderr", False)  # as in a process that begins
        self._capsys.readouterr()
        code: object = 0
        try:
            with self._monkeypatch.context() as hurried:
                hurried.setattr("asyncio.sleep", short_sleep)
                hurried.setattr("typer.main.get_command", tree_of_commands)
                hurried.setattr("app.migration.tables.metadata._describe", described_here)
                run()
        except SystemExit as end:
            code = end.code or 0
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err + captured.out
        for secret in (environment.get("SUPABASE_KEY", "").strip(), "password-of-the-database"):
            assert not secret or secret not in captured.err + captured.out
        return Outcome(code, captured.out, captured.err)


def start(*arguments: str, directory: Path, **environment: str) -> subprocess.Popen[str]:
    """Start the command in a process of its own."""
    inherited = {name: text for name, text in os.environ.items() if name not in VARIABLES}
    return subprocess.Popen(
        [BOTDATA, *arguments],
        cwd=directory,
        env={**inherited, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_beside(process: subprocess.Popen[str], until: Callable[[], bool]) -> None:
    """Wait until something is so, for a minute at most, while a command is at work."""
    for _ in range(600):
        if process.poll() is not None or until():
            break
        time.sleep(0.1)
    assert process.poll() is None, process.communicate()
    assert until()


def wait_for_sessions_to_end(url: str) -> None:
    """Wait until the server has noticed that the sessions of a killed command are gone, and with them its locks."""
    sessions = (
        "SELECT query, wait_event FROM pg_stat_activity WHERE starts_with(application_name, 'botdata') "
        "AND datname = current_database()"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(1200):
            if not (left := connection.execute(sessions).fetchall()):
                return
            time.sleep(0.05)
    raise AssertionError(left)
