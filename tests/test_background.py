"""Work beside its caller ends when the caller wants it to."""

import asyncio
import gc
from contextlib import suppress
from typing import Any

import pytest

from app.common import background
from app.common.background import end_task
from app.common.deadlines import within
from app.errors import UnavailableError


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


async def test_a_wait_that_is_cancelled_as_its_call_fails_leaves_nothing_to_be_logged() -> None:
    loop = asyncio.get_running_loop()
    logged: list[dict[str, Any]] = []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _loop, context: logged.append(context))
    try:
        await _cancelled_as_it_fails(loop)
        gc.collect()  # an exception that nobody asked for is told of when its future goes
    finally:
        loop.set_exception_handler(before)
    assert logged == []


async def _cancelled_as_it_fails(loop: asyncio.AbstractEventLoop) -> None:
    async def fail() -> None:
        loop.call_soon(asker.cancel)  # carried out before the failure reaches the asker
        raise UnavailableError("x")

    asker = asyncio.create_task(within(60, fail()))
    await asyncio.wait([asker])
    assert asker.cancelled()
