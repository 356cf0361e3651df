"""`botdata` as its user runs it, in a process of its own that can be ended at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.settings import Settings
from tests.chaos.transcript import Transcript

_BOTDATA = Path(sys.executable).with_name("botdata")
_SECONDS = 300  # for any command
# Asked for rows, these show them.
_SHOWING = ("quarantine show", "quarantine export", "--show-values")


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit code (negative for a signal that ended it), and all that it printed."""

    code: int
    out: str


@dataclass(frozen=True)
class Botdata:
    """Runs commands with the given settings and no others, and keeps what they print in the transcript."""

    directory: Path
    settings: Mapping[str, str]
    transcript: Transcript

    def __call__(self, *arguments: str, end_after: float | None = None, with_signal: int = signal.SIGKILL) -> Done:
        """Run a command to its end, or send it a signal after so many seconds; a second one is never needed.

        Raises:
            AssertionError: it printed a traceback.
            subprocess.TimeoutExpired: it does not end; it was killed.
        """
        process = self.start(*arguments)
        try:
            out, _ = process.communicate(timeout=_SECONDS if end_after is None else end_after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL if end_after is None else with_signal)
            try:
                out, _ = process.communicate(timeout=_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                raise
            if end_after is None:
                raise
        words = " ".join(arguments)
        self.transcript.record(f"botdata {words}", out, shows_rows=any(shown in words for shown in _SHOWING))
        assert "Traceback (most recent call last)" not in out, out
        return Done(process.returncode, out)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command at work, standard output and error in one pipe."""
        environment = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
        return subprocess.Popen(
            [_BOTDATA, *arguments],
            cwd=self.directory,
            env={**environment, "PYTHONFAULTHANDLER": "1", **self.settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
