"""Counts the rounds of what goes on in the background, so that a test waits for rounds and not for time."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

_LONGEST = 60.0  # seconds, on a machine with much else to do


class Rounds:
    """The calls of one method, a coroutine function: of every object of a class, or of one object."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
        self._begun = 0
        self._ended = 0
        method: Any = getattr(owner, name)

        @functools.wraps(method)
        async def counted(*arguments: Any, **named: Any) -> Any:
            self._begun += 1
            try:
                return await method(*arguments, **named)
            finally:
                self._ended += 1

        monkeypatch.setattr(owner, name, counted)

    @property
    def begun(self) -> int:
        """How many there have been, with those that have not ended."""
        return self._begun

    async def go_by(self, number: int = 3) -> None:
        """Return once so many that had not begun before have ended, however they ended."""
        last = self._begun + number
        async with asyncio.timeout(_LONGEST):
            while self._ended < last:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
