"""Which writes the queue brings together, and what is left of them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from app.common.bisection import in_halves
from app.common.quiet import Calls
from app.cutover.replication.write_queue import WaitingWrite, WriteQueue


def write(*numbers: int, table: str = "clients", is_alone: bool = False) -> WaitingWrite:
    return WaitingWrite(table, [(str(number),) for number in numbers], is_alone)


@dataclass
class Brought:
    """Keeps the batches that it is given, and settles them when it may."""

    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    batches: list[list[WaitingWrite]] = field(default_factory=list)

    async def bring(self, batch: list[WaitingWrite]) -> None:
        self.batches.append(batch)
        await self.may_end.wait()
        for one in batch:
            one.settled.set()


def queue_of(
    brought: Brought, at_once: int = 2, may_bring: Callable[[], bool] = lambda: True
) -> WriteQueue[WaitingWrite]:
    return WriteQueue(brought.bring, at_once=at_once, may_bring=may_bring)


async def test_a_key_is_in_one_batch_at_a_time() -> None:
    brought = Brought()
    queue = queue_of(brought)
    first, same, other = write(1), write(1), write(2)
    for one in (first, same, other):
        queue.add(one)
    await asyncio.sleep(0)
    assert brought.batches == [[first], [other]]
    assert queue.holds("clients", ("1",))
    assert not queue.holds("staff", ("1",))
    brought.may_end.set()
    await queue.finish(1.0)
    assert brought.batches == [[first], [other], [same]]
    assert queue.pending == set()


async def test_a_batch_is_of_one_table_and_of_so_many_keys() -> None:
    brought = Brought()
    is_away = True
    queue = queue_of(brought, 5, lambda: not is_away)
    clients = [write(number) for number in range(201)]
    staff, alone = write(1, table="staff"), write(300, is_alone=True)
    for one in (clients[0], staff, alone, *clients[1:]):
        queue.add(one)
    assert brought.batches == []
    is_away = False
    brought.may_end.set()
    await queue.finish(1.0)
    assert brought.batches == [clients[:200], [staff], [alone], clients[200:]]


async def test_what_is_not_brought_in_time_is_pending() -> None:
    brought = Brought()
    queue = queue_of(brought, 1)
    running, waiting = write(1), write(2, table="staff")
    queue.add(running)
    queue.add(waiting, 60.0)
    queue.add(write())  # has nothing to bring
    await asyncio.sleep(0)
    await queue.finish(0.0)
    assert brought.batches == [[running]]
    assert queue.pending == {running, waiting}


async def test_halves_are_attempted_down_to_the_one_that_is_refused() -> None:
    attempts: list[str] = []

    async def attempt(items: str) -> str:
        attempts.append(items)
        return items if "c" in items and len(items) > 1 else ""

    await in_halves("abcdefg", attempt)  # type: ignore[arg-type]
    assert attempts == ["abcdefg", "abc", "a", "bc", "b", "c", "defg"]


@pytest.mark.parametrize("patience", [3600.0, 0.01])
async def test_what_nobody_waits_for_is_brought_together_in_a_moment_without_calls(
    monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    monkeypatch.setattr("app.cutover.replication.write_queue.PATIENCE", patience)
    brought, calls = Brought(), Calls()
    brought.may_end.set()
    queue = WriteQueue(brought.bring, at_once=2, may_bring=lambda: True, calls=calls)
    first, second = write(1), write(2)
    with calls.answering():
        for one in (first, second):
            with calls.answering():
                queue.add(one)
        if patience < 1:  # not for ever
            await asyncio.wait_for(second.settled.wait(), 60)
        else:
            await asyncio.sleep(0.05)
            assert brought.batches == []
    await asyncio.wait_for(second.settled.wait(), 60)
    assert brought.batches == [[first, second]]
