"""Who may send an entry, and what one entry that cannot be sent does to the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import psycopg
import pytest

from app.common.schemas import Schemas
from app.cutover.locks import HOLD_STAGE
from app.cutover.replication.to_supabase.sender import Sender
from app.state.cutover import outbox
from app.state.cutover.outbox import Entry
from app.stores.postgres.database import Database
from app.stores.supabase.client import SupabaseRest
from tests.cutover.outbox_writers import entries, somebody_waits, until, writer_of
from tests.fixtures.cutover import MakeSettings, Pair

KEY = ("7", "1")
ENTRY = (
    "INSERT INTO botdata.outbox (process, table_name, key, attempts, unsure, next_attempt_at) "
    "VALUES ('p', 'clients', %s, %s, %s, now())"
)
MakeSender = Callable[[], AbstractAsyncContextManager[Sender]]


@pytest.fixture
def sender(pair: Pair, settings_of: MakeSettings) -> MakeSender:
    @asynccontextmanager
    async def make() -> AsyncIterator[Sender]:
        rest = await SupabaseRest.open(pair.supabase.url, pair.supabase.service_key)
        database = Database(pair.target)
        yield Sender(database, rest, settings_of(mirror_timeout=5, outcome_settles_after=60), "p")
        await database.close()
        await rest.close()

    return make


@pytest.fixture(autouse=True)
def client(pair: Pair) -> None:
    pair.set_stage("live")
    pair.ask("INSERT INTO clients (yclients_id, company_id, phone) VALUES (7, 1, '7')")


@pytest.mark.parametrize(("attempts", "sent"), [(1, True), (2, False)])
async def test_a_claim_that_another_relay_took_over_is_not_used(
    pair: Pair, sender: MakeSender, attempts: int, sent: bool
) -> None:
    pair.ask(ENTRY, list(KEY), attempts, True)
    ((number,),) = pair.ask("SELECT id FROM botdata.outbox")
    was = Entry(number, "p", "clients", KEY, attempts=0, unsure=False, sent=False)
    async with sender() as one:
        await one.send("clients", [KEY], {number: was})
    # The other relay's send may still land: its entry is to be read back.
    assert entries(pair) == ([] if sent else [(list(KEY), 2, True, False, None)])
    assert len(pair.texts("clients", "source")) == sent


async def test_what_was_recorded_at_complete_is_claimed_before_it_is_sent(pair: Pair, sender: MakeSender) -> None:
    pair.ask(ENTRY, list(KEY), 0, False)  # and a write of it, at live, that was not committed
    async with sender() as one:
        await one.send("clients", [KEY])
    assert entries(pair) == [(list(KEY), 0, False, False, None)]
    assert pair.texts("clients", "source") == []


async def test_an_entry_that_nothing_can_be_done_with_ends_no_relay(pair: Pair, settings_of: MakeSettings) -> None:
    pair.ask(ENTRY, ["7"], 0, False)  # a key that has a part too few
    pair.ask(ENTRY, list(KEY), 0, False)
    async with writer_of(settings_of(mirror_timeout=0.5)):
        await until(lambda: pair.texts("clients", "source") != [], 30)
        await until(lambda: [key for key, *_ in entries(pair)] == [["7"]])
    assert entries(pair)[0][3:] == (False, "the mirror failed: ValueError")


async def test_a_key_that_is_lost_again_while_its_entry_is_written_gets_another(pair: Pair, sender: MakeSender) -> None:
    lost = {("clients", KEY)}
    async with sender() as one:
        one._lost = lost.copy()
        with psycopg.connect(pair.target) as other:
            other.execute(Schemas("public").named(HOLD_STAGE).encode())
            recording = asyncio.create_task(one.record_lost())
            await until(lambda: somebody_waits(pair))
            one._lost |= lost
        await recording
        assert one._lost == lost
        await one.record_lost()
    assert [key for key, *_ in entries(pair)] == [list(KEY), list(KEY)]


async def test_a_drain_waits_for_no_sender_that_has_an_entry(pair: Pair) -> None:
    for key in (list(KEY), ["8", "1"]):
        pair.ask(ENTRY, key, 1, False)
    (first, second) = (number for (number,) in pair.ask("SELECT id FROM botdata.outbox ORDER BY id"))
    database = Database(pair.target)
    with psycopg.connect(pair.target) as sender:
        sender.execute("DELETE FROM botdata.outbox WHERE id = %s", [second])
        async with database.writer() as connection:
            await asyncio.wait_for(outbox.hurry(connection, outbox.LAST, None), 30)
            sender.execute("SET lock_timeout = '30 s'")
            deleting = asyncio.create_task(
                asyncio.to_thread(sender.execute, "DELETE FROM botdata.outbox WHERE id = %s", [first])
            )
            await until(lambda: somebody_waits(pair))
            await connection.commit()
        await deleting
    await database.close()
