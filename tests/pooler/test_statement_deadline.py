"""One timer keeps the time of all statements of a connection."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from app.stores.postgres.statement_deadline import StatementDeadline


async def test_each_statement_has_its_own_time() -> None:
    deadline = StatementDeadline(0.3)
    loop = asyncio.get_running_loop()
    for _ in range(4):  # longer together than one may be
        assert await deadline.keep(asyncio.sleep(0.1, "done")) == "done"
    began = loop.time()
    with pytest.raises(psycopg.errors.QueryCanceled):
        await deadline.keep(asyncio.sleep(20))
    assert 0.29 < loop.time() - began < 10
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert await deadline.keep(asyncio.sleep(0.1, "done")) == "done"


async def test_a_callers_own_cancellation_stays_one() -> None:
    deadline = StatementDeadline(5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await deadline.keep(asyncio.sleep(20))
    task = asyncio.create_task(deadline.keep(asyncio.sleep(20)))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
