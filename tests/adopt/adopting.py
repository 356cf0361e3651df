"""Runs `botdata adopt` as a user does, and what a user runs in the directory that it writes."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cli.command import VARIABLES, start

_SCRIPTS = Path(sys.executable).parent


@dataclass(frozen=True)
class Adopted:
    """What a run printed, its document and its exit code."""

    code: int
    said: str
    document: dict[str, Any]


def adopt(source: str, directory: Path, *options: str, target: str | None = None) -> Adopted:
    """Adopt a database into a directory; the scratch database is made on the server of `target`."""
    settings = {"DATABASE_URL": target} if target else {}
    process = start(
        *("adopt", str(directory), "--json", *(("--source", source) if source else ())),
        *options,
        directory=directory.parent,
        **settings,
    )
    out, said = process.communicate()
    assert "Traceback" not in said, said
    return Adopted(process.returncode, said, json.loads(out) if out.startswith("{") else {})


def run(directory: Path, *words: str, target: str = "", source: str = "") -> subprocess.CompletedProcess[str]:
    """A program of this Python's, such as alembic or mypy, in a project's directory."""
    given = {"DATABASE_URL": target, "MIGRATION_SOURCE": source}
    environment = {name: text for name, text in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [_SCRIPTS / words[0], *words[1:]],
        cwd=directory,
        env=environment | {name: text for name, text in given.items() if text},
        capture_output=True,
        check=False,
    )
    # Line ends stay as they are.
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def check(directory: Path, target: str) -> str:
    """What `alembic check` says last: nothing where models and database are the same."""
    done = run(directory, "alembic", "check", target=target)
    return "" if done.returncode == 0 else (done.stderr + done.stdout).strip().splitlines()[-1]
