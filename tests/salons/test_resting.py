"""A salon's backend that cannot be closed whole, or not at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.cutover.resting_backend import RestingBackend
from app.errors import UnavailableError
from tests.salons.opening import Opening, ask
from tests.support.supabase import SupabaseServer


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


async def test_one_whose_writer_just_starts_ends_that_too(
    opening: Opening, target: str, lite_server: SupabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun, has_ended = asyncio.Event(), asyncio.Event()

    async def start(_: object) -> None:
        has_begun.set()
        try:
            await asyncio.sleep(600)
        finally:
            has_ended.set()

    own = {"cutover_stage": "database", "supabase_url": lite_server.url, "supabase_key": lite_server.service_key}
    before = asyncio.all_tasks()
    async with opening(lambda _: own) as salons:
        await salons.open("t1")
        monkeypatch.setattr("app.cutover.replication.to_supabase.outbox_writer.OutboxWriter.start", start)
        ask(target, "UPDATE t1_botdata.stage SET stage = 'rampdown', moved_at = now(), moves = moves + 1")
        async with asyncio.timeout(60):
            await has_begun.wait()
    assert has_ended.is_set()
    assert asyncio.all_tasks() <= before


async def test_one_that_is_opened_while_its_end_is_cancelled_is_closed() -> None:
    may_open, closed = asyncio.Event(), []

    class Backend(_Backend):
        async def close(self) -> None:
            closed.append(self)

    async def open_it() -> Any:
        await may_open.wait()
        return Backend()

    salon = RestingBackend(open_it)
    opening = asyncio.create_task(salon.open())
    await asyncio.sleep(0)
    closing = asyncio.create_task(salon.close())
    await asyncio.sleep(0.01)
    closing.cancel()
    await asyncio.wait({closing})
    may_open.set()
    with pytest.raises(UnavailableError, match="closed"):
        await opening
    assert len(closed) == 1
