"""`botdata watch` as its user starts it, in a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
from typing import Self


class Watch:
    """The command, from its first lines on.

    Args:
        process: `botdata watch --port 0`, just started.

    Attributes:
        address: as it is printed, with the token.
        said: its first lines.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline() for _ in range(4)]
        self.said = "".join(lines)
        found = re.fullmatch(r"watch: (http://127\.0\.0\.1:\d+/\?token=\S+)\n", lines[0])
        assert found, self.said + self.process.communicate(timeout=30)[0]
        self.address = found[1]

    def end(self, number: signal.Signals = signal.SIGINT, seconds: float = 30) -> tuple[str, int]:
        """What it still says after a signal, and its exit code; AssertionError where it does not end in time."""
        self.process.send_signal(number)
        try:
            said, errors = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {seconds:g} s of {number.name}") from None
        return said + (errors or ""), self.process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
