"""Work beside its caller ends when the caller wants it to."""

import asyncio
from contextlib import suppress

import pytest

from app.common import background
from app.common.background import end_task


async def _goes_on_after_errors() -> None:
    with suppress(ConnectionError):
        try:
            await asyncio.sleep(600)
        finally:
            raise ConnectionError  # in place of the cancel
    await asyncio.sleep(600)


async def test_a_task_that_loses_a_cancel_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_AGAIN", 0.01)
    task = asyncio.create_task(_goes_on_after_errors())
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await end_task(task)
    assert task.cancelled()


async def test_what_a_task_came_to_is_no_matter() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await end_task(task)
    assert isinstance(task.exception(), ZeroDivisionError)
