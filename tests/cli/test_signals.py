"""Signals that come when a command has done its work."""

import subprocess
import sys
from pathlib import Path

import pytest

_SIGNALLED_AT_ITS_END = """
import atexit, os, signal, sys
from app.cli.main import run
number = getattr(signal, sys.argv.pop())
atexit.register(lambda: os.kill(os.getpid(), number))
sys.argv.append("--version")
run()
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_the_exit_code_is_that_of_the_work(tmp_path: Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SIGNALLED_AT_ITS_END, name],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("botdata ")
