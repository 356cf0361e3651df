"""Runs the `alembic` command as a user does, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
ALEMBIC = Path(sys.executable).with_name("alembic")
SECONDS = 60


def start_alembic(*arguments: str, url: str | None, **environment: str) -> subprocess.Popen[str]:
    """Start the command against a database; `url` None leaves DATABASE_URL empty."""
    return subprocess.Popen(
        [ALEMBIC, *arguments],
        cwd=CHECKOUT,
        env={**os.environ, "DATABASE_URL": url or "", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_alembic(
    *arguments: str, url: str | None, fails: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; that it succeeds, or `fails`, is asserted."""
    with start_alembic(*arguments, url=url, **environment) as process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert (process.returncode != 0) == fails, out + err
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)
