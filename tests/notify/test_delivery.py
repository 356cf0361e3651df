"""Each notification is claimed by one process, and delivered at least once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.migration.target.target_session import open_target
from app.notify.delivery import telling
from app.notify.event import Event, document_of
from app.notify.steps import Step, StepEnd, tell_step
from app.settings import Settings
from app.state import notifications
from tests.migration.engine import execute, query, value
from tests.notify.receiver import Receiver, deliver, until

STEP = Step("copy", None, lambda error: None)


@pytest.fixture
def settings(database_url: str, receiver: Receiver) -> Settings:
    given: dict[str, Any] = {"database_url": database_url, "notify_url": receiver.url}
    return Settings(_env_file=None, **given)


async def _add(settings: Settings, count: int = 1, cause: str | None = None) -> None:
    async with open_target(settings.require_database_url(), step="test") as connection:
        for number in range(count):
            document = document_of(Event("test", f"test {number}."), settings)
            await notifications.add(connection, document, ["url"], cause)


async def test_several_processes_deliver_each_once_and_in_order(settings: Settings, receiver: Receiver) -> None:
    await _add(settings, 12)
    counts = await asyncio.gather(*(deliver(settings) for _ in range(4)))
    assert sum(counts) == 12
    assert [event["summary"] for event in receiver.events] == [f"test {number}." for number in range(12)]


async def test_what_follows_waits_until_the_one_before_has_arrived(settings: Settings, receiver: Receiver) -> None:
    receiver.hold.clear()
    await _add(settings)
    first = asyncio.create_task(deliver(settings))
    await until(lambda: len(receiver.bodies) == 1)
    await _add(settings, 2)
    assert await deliver(settings) == 0
    receiver.hold.set()
    assert await first == 3
    assert [event["summary"] for event in receiver.events] == ["test 0.", "test 0.", "test 1."]


async def test_what_cannot_be_written_is_sent_in_order(settings: Settings, receiver: Receiver) -> None:
    receiver.hold.clear()
    execute(settings.require_database_url(), "DROP SCHEMA botdata CASCADE")
    async with telling(settings) as teller:
        assert teller is not None
        await teller.tell(Event("test", "first."))
        await until(lambda: len(receiver.bodies) == 1)
        await teller.tell(Event("test", "second."))
        await asyncio.sleep(0.1)  # in which it would arrive
        assert len(receiver.bodies) == 1
        receiver.hold.set()
    assert [event["summary"] for event in receiver.events] == ["first.", "second."]


async def test_the_claim_of_one_that_was_killed_runs_out(settings: Settings, receiver: Receiver) -> None:
    await _add(settings)
    async with open_target(settings.require_database_url(), step="test") as connection:
        assert await notifications.claim(connection, "killed:1:aaaaaa", "url", 600.0)
    assert await deliver(settings) == 0
    assert await deliver(settings, at_once=True) == 0
    execute(settings.require_database_url(), "UPDATE botdata.notifications SET claimed_until = now()")
    assert await deliver(settings) == 1
    assert receiver.kinds == ["test"]


async def test_a_failed_try_waits_ever_longer(settings: Settings, receiver: Receiver) -> None:
    receiver.status = 503
    await _add(settings, 2)
    pauses = (
        "SELECT round(extract(epoch FROM next_try_at - clock_timestamp())::numeric, -1)::int "
        "FROM botdata.notifications ORDER BY number"
    )
    seen = []
    for _ in range(3):
        await deliver(settings)
        seen.append(query(settings.require_database_url(), pauses)[0][0])
        execute(
            settings.require_database_url(), "UPDATE botdata.notifications SET next_try_at = now() WHERE number = 1"
        )
    assert seen == [10, 20, 40]
    assert len(receiver.bodies) == 3  # the second is left alone while the first fails
    receiver.status = 200
    assert await deliver(settings) == 2


async def test_what_several_find_is_written_once(settings: Settings) -> None:
    await asyncio.gather(*(_add(settings, cause="move 1") for _ in range(3)))
    assert value(settings.require_database_url(), "SELECT count(*) FROM botdata.notifications") == 1


async def test_old_rows_go(settings: Settings) -> None:
    await _add(settings, 2)
    execute(
        settings.require_database_url(), "UPDATE botdata.notifications SET happened_at = now() - interval '31 days'"
    )
    await _add(settings)
    assert value(settings.require_database_url(), "SELECT count(*) FROM botdata.notifications") == 1


async def test_a_step_that_is_interrupted_or_fails_is_told(settings: Settings, receiver: Receiver) -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    def end_of(_: None) -> StepEnd:
        raise AssertionError

    task = asyncio.create_task(tell_step(settings, STEP, work, end_of))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def fail() -> None:
        raise ZeroDivisionError("a value of a row")

    with pytest.raises(ZeroDivisionError):
        await tell_step(settings, STEP, fail, end_of)
    assert receiver.kinds == ["step_begun", "step_stopped"] * 2
    assert [event["summary"] for event in receiver.events[1::2]] == [
        "copy stopped: it was interrupted.",
        "copy stopped: a fault of the program (ZeroDivisionError).",
    ]
