"""Runs the contract suite once more, in a process of its own, with something between the data layer and its store."""

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def run_through(what: str, *given: str) -> None:
    """Run it with `--contract-through`, and with these options of pytest; fails with all that it said."""
    program = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "--contract-through", what, *given]
    program.append("--ignore=tests/contract/test_other_schema.py")  # which has ways of its own
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(program, cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
