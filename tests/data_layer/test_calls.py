"""Calls whose caller goes away, or is in another process or event loop than the data layer."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from typing import Any

import pytest

from app.common.metrics import Metrics
from app.data_layer import open_data_layer
from app.data_layer.executor import Executor, OtherLoopError
from app.data_layer.layer import utc_now
from app.errors import AmbiguousError
from tests.fixtures.data_layer import MakeSettings


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


_TWO_PROCESSES = """
import asyncio, os, sys
from app.data_layer import open_data_layer
from app.data_layer.executor import OtherLoopError
from app.settings import Settings

async def ask(data):
    try:
        await data.get_company(1)
    except OtherLoopError as error:
        return str(error)
    return "answered"

async def main():
    async with open_data_layer(Settings(_env_file=None, use_repository_pattern=True, database_url=sys.argv[1])) as data:
        assert (await data.get_company(1)).success
        if (child := os.fork()) == 0:
            print("child", asyncio.new_event_loop().run_until_complete(ask(data)), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print("parent", await ask(data))

asyncio.run(main())
"""


def test_a_forked_process_does_not_read_from_its_parent_s_connections(database_url: str) -> None:
    command = [sys.executable, "-c", _TWO_PROCESSES, database_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    child, parent = done.stdout.splitlines()
    assert parent == "parent answered"
    assert child.startswith("child get_company: the data layer was opened in another event loop")


@pytest.mark.parametrize("repository", [False, True])
def test_another_event_loop_is_refused_before_anything_is_sent(
    settings_with: MakeSettings, database_url: str, repository: bool
) -> None:
    settings = settings_with(
        database_url=database_url if repository else None,
        use_repository_pattern=repository,
        supabase_url="http://127.0.0.1:1",
        supabase_key="sb_secret_x",
    )
    first = asyncio.new_event_loop()
    opening = open_data_layer(settings)
    data = first.run_until_complete(opening.__aenter__())
    try:
        with pytest.raises(OtherLoopError, match=r"^upsert_company: .* open one in each process and each loop"):
            asyncio.run(data.upsert_company({"company_id": 1, "title": "x"}))
    finally:
        first.run_until_complete(opening.__aexit__(None, None, None))
        first.close()
