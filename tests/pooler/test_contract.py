"""The contract suite through PgBouncer in transaction mode, with a pool of three for every stage at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PART = [f"tests/contract/test_{name}.py" for name in ("values", "lookups", "upcoming", "search")]


def _run(*given: str) -> str:
    program = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "--contract-through", "pgbouncer", *given]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(program, cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_part() -> None:
    assert " passed" in _run(*_PART, "-k", "complete")


@pytest.mark.soak
@pytest.mark.budget(300)
def test_the_whole() -> None:
    assert " passed" in _run("tests/contract", "-m", "not browser")
