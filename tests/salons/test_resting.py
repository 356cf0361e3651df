"""A salon's backend that cannot be closed whole, when it goes to rest."""

from __future__ import annotations

from typing import Any

import pytest

from app.cutover.resting_backend import RestingBackend


class _Backend:
    """One whose writers cannot be ended."""

    is_idle = True

    @property
    def membership(self) -> _Backend:
        return self

    async def leave(self) -> bool:
        return True

    async def close(self) -> None:
        raise OSError("a writer")


async def test_one_that_is_closed_by_half_answers_no_more() -> None:
    opened: list[_Backend] = []

    async def open_it() -> Any:
        opened.append(_Backend())
        return opened[-1]

    salon = RestingBackend(open_it)
    await salon.open()
    with pytest.raises(OSError, match="a writer"):
        await salon.rest(0)
    assert not salon.is_open
    assert await salon.open() is opened[1]
