"""A process holds its writes for a move of the authority, and resumes only when it has read how the move ended."""

from __future__ import annotations

import asyncio
import time

import psycopg
import pytest

from app.cutover import membership
from app.cutover.membership import Membership
from app.data_layer import open_data_layer
from tests.cutover.following import ask, client, hold, move_to_live, relayed, set_stage, until
from tests.fixtures.cutover import MakeSettings, Pair
from tests.support.rounds import Rounds

pytestmark = pytest.mark.usefixtures("looks_often")

REPORT = "SELECT held_move, in_flight FROM botdata.processes"
AUTHORITY = "SELECT id >= 1000 FROM clients WHERE yclients_id = %s"  # the target gives out higher ids


def an_hour_later() -> float:
    """The clock of a process, with the time of any hold gone by."""
    return time.monotonic() + 3600


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    """The looks of the processes."""
    return Rounds(monkeypatch, Membership, "_try_to_look")


@pytest.fixture(autouse=True)
async def _shadow(pair: Pair) -> None:
    await set_stage(pair, "shadow")
    await ask(pair, "ALTER SEQUENCE clients_id_seq RESTART 1000")


async def test_a_held_write_goes_to_the_new_authority(pair: Pair, settings_of: MakeSettings, looks: Rounds) -> None:
    async with open_data_layer(settings_of()) as data:
        assert (await data.upsert_client(client(1))).error is None
        move = await hold(pair, 60)
        await until(pair, REPORT, [(move, 0)])
        writing = asyncio.create_task(data.upsert_client(client(2)))
        assert (await data.get_client_by_id(1)).data is not None  # reads go on
        await looks.go_by()
        assert not writing.done()
        await move_to_live(pair)
        assert (await writing).error is None
        assert await ask(pair, AUTHORITY, 1) == [(False,)]
        assert await ask(pair, AUTHORITY, 2) == [(True,)]


async def test_a_move_whose_time_is_up_is_given_up_by_the_process(
    pair: Pair, settings_of: MakeSettings, looks: Rounds
) -> None:
    async with open_data_layer(settings_of()) as data:
        move = await hold(pair, 60)
        await until(pair, REPORT, [(move, 0)])
        writing = asyncio.create_task(data.upsert_client(client(2)))
        await looks.go_by()
        assert not writing.done()
        await ask(pair, "UPDATE botdata.moves SET hold_until = clock_timestamp()")
        assert (await writing).error is None
        assert await ask(pair, "SELECT state, ended_at >= hold_until FROM botdata.moves") == [("given up", True)]
        await until(pair, AUTHORITY.replace("%s", "2"), [(False,)])
        await until(pair, REPORT, [(None, 0)])


async def test_a_process_that_starts_meanwhile_holds_too(pair: Pair, settings_of: MakeSettings, looks: Rounds) -> None:
    move = await hold(pair, 60)
    async with open_data_layer(settings_of()) as data:
        writing = asyncio.create_task(data.upsert_client(client(1)))
        await until(pair, REPORT, [(move, 0)])
        await looks.go_by()
        assert not writing.done()
        await ask(pair, "UPDATE botdata.moves SET state = 'given up'")
        assert (await writing).error is None


async def test_what_is_in_flight_is_waited_for_though_its_caller_has_gone(
    pair: Pair, settings_of: MakeSettings, looks: Rounds
) -> None:
    await ask(pair, "INSERT INTO clients (yclients_id, company_id, phone) VALUES (1, 1, '7')", store="source")
    with psycopg.connect(pair.source) as locker:
        async with open_data_layer(settings_of(outcome_settles_after=1.0)) as data:
            await asyncio.to_thread(locker.execute, "SELECT FROM clients FOR UPDATE")
            writing = asyncio.create_task(data.upsert_client(client(1)))
            await until(pair, "SELECT in_flight FROM botdata.processes", [(1,)])
            await hold(pair, 60)
            await looks.go_by()
            assert await ask(pair, REPORT) == [(None, 1)]
            writing.cancel()
            await until(pair, "SELECT in_flight FROM botdata.processes", [(0,)])
            # The request may still land: its note is left, without which the authority does not move.
            await until(pair, "SELECT state FROM botdata.notes", [("unknown",)])
            await asyncio.to_thread(locker.rollback)
            await ask(pair, "UPDATE botdata.moves SET state = 'given up'")


async def test_a_process_cut_off_while_it_holds_does_not_write(
    pair: Pair, settings_of: MakeSettings, looks: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relayed(pair.target) as (relay, url), open_data_layer(settings_of(database_url=url)) as data:
        move = await hold(pair, 60)
        await until(pair, REPORT, [(move, 0)])
        relay.cut()
        monkeypatch.setattr(membership, "monotonic", an_hour_later)
        await looks.go_by()
        for _ in range(2):  # the move's end is not known, and then is another than the process could think
            answer = await data.upsert_client(client(1))
            assert (answer.error_code, answer.error) == (
                "unavailable",
                "writes are held while the authority moves; nothing was written",
            )
            await move_to_live(pair)
        assert await ask(pair, "SELECT FROM clients", store="source") == []
        relay.heal()
        await until(pair, "SELECT stage FROM botdata.processes", [("live",)])
        assert (await data.upsert_client(client(1))).error is None
        assert await ask(pair, AUTHORITY, 1) == [(True,)]


async def test_a_process_cut_off_before_it_held_goes_on_when_the_time_is_up(
    pair: Pair, settings_of: MakeSettings, looks: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(pair, "INSERT INTO clients (yclients_id, company_id, phone) VALUES (1, 1, '7')", store="source")
    async with relayed(pair.target) as (relay, url), open_data_layer(settings_of(database_url=url)) as data:
        with psycopg.connect(pair.source) as locker:
            await asyncio.to_thread(locker.execute, "SELECT FROM clients FOR UPDATE")
            writing = asyncio.create_task(data.upsert_client(client(1)))
            await until(pair, "SELECT in_flight FROM botdata.processes", [(1,)])
            await hold(pair, 60)
            await looks.go_by()
            relay.cut()
            held = asyncio.create_task(data.upsert_client(client(3)))
            await looks.go_by()
            assert not held.done()
            await ask(pair, "UPDATE botdata.moves SET hold_until = clock_timestamp()")
            monkeypatch.setattr(membership, "monotonic", an_hour_later)
            await looks.go_by()
            assert (await held).error is None
            assert (await data.upsert_client(client(2))).error is None
            await asyncio.to_thread(locker.rollback)
            assert (await writing).error is None
            relay.heal()
            await until(pair, "SELECT count(*) FROM clients", [(3,)])
            assert await ask(pair, "SELECT FROM clients WHERE id >= 1000") == []
