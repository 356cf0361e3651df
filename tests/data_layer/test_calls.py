"""Calls whose caller goes away."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from app.common.metrics import Metrics
from app.data_layer.executor import Executor
from app.data_layer.layer import utc_now
from app.errors import AmbiguousError


@pytest.mark.parametrize("way", ["cancelled as it fails", "closed"])
async def test_a_call_that_nobody_waits_for_leaves_nothing_to_be_logged(way: str) -> None:
    loop = asyncio.get_running_loop()
    logged: list[dict[str, Any]] = []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _loop, context: logged.append(context))
    try:
        await (_closed() if way == "closed" else _cancelled_as_it_fails(loop))
        gc.collect()  # an exception that nobody asked for is told of when its future goes
    finally:
        loop.set_exception_handler(before)
    assert logged == []


async def test_a_call_that_is_ended_cleans_up_undisturbed() -> None:
    calls = Executor(utc_now, timeout=60, log=False, metrics=Metrics())
    cleaned_up: list[bool] = []

    async def hang() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.5)  # as a driver that waits for its server's word
            cleaned_up.append(True)

    call = asyncio.create_task(calls.read("get_company", hang))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await calls.close()
    assert cleaned_up == [True]
    assert (await call).error_code == "unavailable"


async def _cancelled_as_it_fails(loop: asyncio.AbstractEventLoop) -> None:
    async def fail() -> None:
        loop.call_soon(asker.cancel)  # carried out before the failure reaches the asker
        raise AmbiguousError("x")

    asker = asyncio.create_task(Executor(utc_now, timeout=5, log=False, metrics=Metrics()).read("get_company", fail))
    await asyncio.wait([asker])
    assert asker.cancelled()


async def _closed() -> None:
    async def hang() -> None:
        await asyncio.sleep(5)

    call: Any = Executor(utc_now, timeout=5, log=False, metrics=Metrics()).read("get_company", hang)
    call.send(None)
    call.close()
    await asyncio.sleep(0.05)  # the call is cancelled and ends
