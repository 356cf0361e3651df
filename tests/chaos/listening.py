"""All that a scenario's own process says beside its answers: log lines, warnings, errors that nobody waited for."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.chaos.transcript import Transcript

_NEVER_RETRIEVED = ("never retrieved", "was destroyed but it is pending", "never awaited")


class Noises(logging.Handler):
    """Records what is logged in the transcript.

    Attributes:
        found: warnings, errors in callbacks, and others that should not be there, each once.
    """

    def __init__(self, transcript: Transcript, where: str) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
        self.found: list[str] = []
        self._transcript = transcript
        self._where = where

    def emit(self, record: logging.LogRecord) -> None:
        """A line of any logger."""
        said = self.format(record)
        self._transcript.record(f"{self._where}: log", said)
        if any(words in said for words in _NEVER_RETRIEVED):
            self.add(said)

    def add(self, said: str) -> None:
        """Something that should not be there."""
        if said not in self.found and len(self.found) < 20:
            self.found.append(said[:500])

    @contextmanager
    def everything_logged(self) -> Iterator[None]:
        """Every logger at DEBUG."""
        root = logging.getLogger()
        before, root.level = root.level, logging.DEBUG
        engine = logging.getLogger("sqlalchemy.engine")
        engine_before = engine.level
        engine.setLevel(logging.DEBUG)
        logging.getLogger().manager._clear_cache()  # type: ignore[attr-defined]
        try:
            yield
        finally:
            root.setLevel(before)
            engine.setLevel(engine_before)


@contextmanager
def listening(transcript: Transcript, where: str) -> Iterator[Noises]:
    """Listen to this process, on the loop that runs, until the end of the block."""
    noises = Noises(transcript, where)
    loop = asyncio.get_running_loop()

    def unraisable(error: Any) -> None:
        noises.add(f"unraisable: {error.exc_value!r} in {error.object!r}")

    def in_a_callback(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        noises.add(f"{context.get('message')}: {context.get('exception')!r}")

    root = logging.getLogger()
    hooks = sys.unraisablehook, loop.get_exception_handler()
    root.addHandler(noises)
    sys.unraisablehook = unraisable
    loop.set_exception_handler(in_a_callback)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = lambda message, category, *_: noises.add(f"{category.__name__}: {message}")
            yield noises
            gc.collect()
    finally:
        sys.unraisablehook = hooks[0]
        loop.set_exception_handler(hooks[1])
        root.removeHandler(noises)
