"""Runs `botdata` in this process, which begins in a moment, with an end to its time."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import typer

from app.cli.main import run as botdata
from app.cli.render import console
from app.settings import Settings
from tests.support.models import described_here

SECONDS = 60.0  # for any command
LONGEST_PAUSE = 0.01  # seconds
_sleep = asyncio.sleep
_get_command = typer.main.get_command


class TookTooLongError(BaseException):
    """A command has not ended in its time; nothing on the way catches this."""


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both outputs, errors last."""
        return self.out + self.err


def run_here(
    words: list[str],
    directory: Path,
    settings: Mapping[str, str],
    seconds: float = SECONDS,
    *,
    longest_pause: float | None = LONGEST_PAUSE,
) -> Said:
    """Run a command with these settings and no others.

    Args:
        longest_pause: seconds; the program's pauses are made that short, where it waits for others and there are none.
            None: they stay as they are.
    """
    environment = {name: text for name, text in os.environ.items() if name.lower() not in Settings.model_fields}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    here = Path.cwd()
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    os.chdir(directory)
    stderr_first = console().stderr
    code: object
    try:
        with (
            patch.dict(os.environ, {**environment, **settings, "COLUMNS": "300"}, clear=True),
            patch.object(sys, "argv", ["botdata", *words]),
            redirect_stdout(out),
            redirect_stderr(err),
            patch("asyncio.sleep", _sleep if longest_pause is None else partial(_sleep_at_most, longest_pause)),
            patch("typer.main.get_command", tree_of_commands),
            patch("app.migration.tables.metadata._describe", described_here),
            _alarm(seconds),
        ):
            try:
                botdata()
                code = 0
            except SystemExit as end:
                code = end.code
            except TookTooLongError:
                code = f"no end within {seconds:.0f} s"
                err.write(f"Traceback: {code}\n")
            except Exception as error:  # a failure of the command itself, which is to be told
                code = 1
                err.write(f"Traceback: {type(error).__name__}: {error}\n")
    finally:
        os.chdir(here)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        console().stderr = stderr_first
    shown = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return Said(code if isinstance(code, int) else int(bool(code)), *shown)


@cache
def tree_of_commands(cli: typer.Typer) -> Any:
    """Typer makes the tree anew at each call, which takes longer than some commands."""
    return _get_command(cli)


async def _sleep_at_most(longest: float, delay: float, result: object = None) -> Any:
    return await _sleep(min(delay, longest), result)


# A pause made short: the program waits for others who write, and there are none.
short_sleep = partial(_sleep_at_most, LONGEST_PAUSE)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise an error in the main thread after so many seconds."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise TookTooLongError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
