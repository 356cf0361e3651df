"""`verify` beside a change stream: what it was about to bring is no difference, what it left is one."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from app.migration.runs import beside_stream
from app.migration.runs.beside_stream import BesideStream
from app.migration.runs.report import VerifyReport
from app.migration.stream.options import FollowOptions
from app.migration.verify.options import VerifyOptions
from tests.fixtures.streams import StreamEnds, Streaming
from tests.migration.engine import execute, tables, value, verify_from

_LATE = FollowOptions(interval=0.5, accept_unbounded=True)
_HOT = 3


@asynccontextmanager
async def _written(url: str) -> AsyncIterator[None]:
    """Somebody changes, inserts and deletes clients all the time, one of them again and again."""

    async def write() -> None:
        chance = random.Random(7)
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            for turn in range(100_000):
                key = chance.randrange(1, 30)
                await connection.execute("UPDATE clients SET notes = %s WHERE id IN (%s, %s)", [str(turn), key, _HOT])
                if turn % 10 == 0:
                    await connection.execute(
                        "INSERT INTO clients (id, yclients_id, company_id, phone, name) VALUES (%s, %s, 1, %s, 'n')",
                        [1000 + turn, 1000 + turn, str(79000001000 + turn)],
                    )
                    await connection.execute("DELETE FROM clients WHERE id = %s", [1000 + turn - 20])
                await asyncio.sleep(0.02)

    task = asyncio.ensure_future(write())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _verify(salon: StreamEnds) -> VerifyReport:
    options = VerifyOptions(pause=0.05)
    return await verify_from(salon.served, salon.target, tables("clients"), options=options, told=salon.told)


async def _caught_up(salon: StreamEnds) -> Streaming:
    stream = salon.stream(tables("clients"), _LATE)
    await stream.begun()
    await stream.until(lambda: bool(value(salon.target, "SELECT looked_at FROM botdata.streams")))
    return stream


@pytest.mark.parametrize("is_blind", [False, True], ids=["waits", "does not wait"])
async def test_what_the_stream_is_about_to_bring_is_no_difference(
    is_blind: bool, salon: StreamEnds, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: Any) -> None:
        return None

    if is_blind:
        monkeypatch.setattr(BesideStream, "find", nothing)
    stream = await _caught_up(salon)
    async with _written(salon.source):
        await asyncio.sleep(0.3)
        report = await _verify(salon)
    await stream.end()
    assert report.clean is not is_blind


async def test_what_the_stream_left_is_a_difference(salon: StreamEnds) -> None:
    stream = await _caught_up(salon)
    execute(salon.target, "UPDATE clients SET name = 'other' WHERE id = 9; DELETE FROM clients WHERE id = 10")
    execute(salon.target, f"UPDATE clients SET name = 'other' WHERE id = {_HOT}")
    execute(salon.target, "UPDATE clients SET id = 5000, yclients_id = 5000 WHERE id = 11")
    async with _written(salon.source):
        report = await _verify(salon)
    await stream.end()
    found = {(one.kind, one.key[0]) for one in report.differences}
    # The stream brings whole rows: one that changes meanwhile is put right by it.
    assert found - {("different", str(_HOT))} <= {
        ("different", "9"), ("missing", "10"), ("extra", "5000"), ("missing", "11"),
    }  # fmt: skip
    assert ("extra", "5000") in found
    assert not report.clean


async def test_a_stream_that_stands_still_is_said(salon: StreamEnds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside_stream, "_PATIENCE", 1.0)
    stream = await _caught_up(salon)
    await stream.end()
    assert (await _verify(salon)).clean
    execute(salon.source, "UPDATE clients SET notes = 'late' WHERE id = 4")
    report = await _verify(replace(salon))
    assert [(one.kind, one.key) for one in report.differences] == [("different", ("4",))]
    assert report.stream_stands is not None
    assert report.stream_stands.startswith(f"the change stream {salon.slots()[0]} stands at ")
    assert salon.told.notices[-1] == f"{report.stream_stands}; rows that differ may only be late"
