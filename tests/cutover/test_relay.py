"""What first sends leave is sent by a relay, and what may land late cannot stay."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.cutover.replication.to_supabase.relay import Relay
from app.cutover.stages import Stage
from app.models import Client
from app.stores.outgoing_write import OutgoingWrite
from tests.cutover.outbox_writers import client, entries, let_an_hour_pass, relay_to_supabase, until, writer_of
from tests.fixtures.cutover import MakeSettings, Pair
from tests.support.page_server import PageServer
from tests.support.rounds import Rounds

pytestmark = pytest.mark.usefixtures("looks_often")

DUE = (
    "INSERT INTO botdata.outbox (process, table_name, key, attempts, unsure, next_attempt_at) "
    "VALUES ('dead', 'clients', '{7,1}', 0, %s, now())"
)
SESSIONS = "SELECT FROM pg_stat_activity WHERE datname = current_database()"
SENDING = f"{SESSIONS} AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"


def names(pair: Pair, store: str = "source") -> list[Any]:
    return [name for (name,) in pair.ask("SELECT name FROM clients ORDER BY yclients_id", store=store)]


@pytest.mark.parametrize("stage", [Stage.LIVE, Stage.RAMPDOWN])
async def test_a_process_that_died_before_its_send(pair: Pair, settings_of: MakeSettings, stage: Stage) -> None:
    pair.set_stage(stage)
    async with writer_of(settings_of(), "killed", start=False) as killed:
        await killed.upsert(stage, Client, [client(7, name="written")], OutgoingWrite())
    assert names(pair) == []
    async with writer_of(settings_of(outcome_settles_after=3600.0), "another"):
        await let_an_hour_pass(pair)
        await until(lambda: names(pair) == ["written"])
        # It may have been killed in its send, too: so the row is read back before the entry is taken out.
        await until(lambda: entries(pair) == [(["7", "1"], 1, True, True, None)])
        assert pair.ask("SELECT FROM botdata.outbox WHERE recheck_at > now() + interval '50 min'") != []
        await let_an_hour_pass(pair)
        await until(lambda: entries(pair) == [])
    assert pair.texts("clients", "source") == pair.texts("clients", "target")


@pytest.mark.parametrize("killed", [False, True])
async def test_a_send_that_lands_after_later_ones_is_found(pair: Pair, settings_of: MakeSettings, killed: bool) -> None:
    pair.set_stage("live")
    async with relay_to_supabase(pair) as relay:
        relay.hang()
        slow = settings_of(
            supabase_url=f"http://127.0.0.1:{relay.port}", mirror_timeout=30 if killed else 0.5, close_timeout=0.3
        )
        async with writer_of(slow, "slow") as writer:
            await writer.upsert(Stage.LIVE, Client, [client(7, name="first")], OutgoingWrite())
            await until(lambda: pair.ask(SENDING) != [] if killed else writer.problem is not None)
        assert [(attempts, unsure) for _, attempts, unsure, *_ in entries(pair)] == [(0 if killed else 1, True)]
        async with writer_of(settings_of(outcome_settles_after=3600.0, mirror_wait=60), "another") as another:
            await another.upsert(Stage.LIVE, Client, [client(7, name="second")], OutgoingWrite())
            await until(lambda: names(pair) == ["second"])
            await let_an_hour_pass(pair)
            await until(lambda: [(key, sent) for key, _, _, sent, _ in entries(pair)] == [(["7", "1"], True)])
            relay.heal()
            await until(lambda: names(pair) == ["first"])  # late, over the newer row
            await let_an_hour_pass(pair)
            await until(lambda: entries(pair) == [])
    assert names(pair) == ["second"]
    assert pair.texts("clients", "source") == pair.texts("clients", "target")


async def test_a_relay_that_is_killed_in_its_send_leaves_the_entry_unsure(
    pair: Pair, settings_of: MakeSettings
) -> None:
    pair.set_stage("live")
    pair.ask(DUE, False)
    async with relay_to_supabase(pair) as relay:
        relay.slow(20)
        settings = settings_of(supabase_url=f"http://127.0.0.1:{relay.port}", close_timeout=0.3)
        async with writer_of(settings, "killed"):
            await until(lambda: [unsure for _, _, unsure, *_ in entries(pair)] == [True])
            await until(lambda: pair.ask(SENDING) != [])
    assert entries(pair) == [(["7", "1"], 1, True, False, None)]


async def test_a_send_whose_transaction_is_lost_is_recorded_anew(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("live")
    async with relay_to_supabase(pair) as relay:
        relay.hang()
        async with writer_of(settings_of(supabase_url=f"http://127.0.0.1:{relay.port}")) as writer:
            await writer.upsert(Stage.LIVE, Client, [client(7, name="first")], OutgoingWrite())
            read = "state = 'idle in transaction' AND query LIKE 'SELECT CAST(id AS text)%'"
            await until(lambda: pair.ask(f"{SESSIONS} AND {read}") != [])  # the row is on its way
            # As after a standstill of this process: its session was ended, and another sender has been there.
            pair.ask(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND state = 'idle in transaction'"
            )
            pair.ask("DELETE FROM botdata.outbox")
            pair.ask("UPDATE clients SET name = 'second'")
            relay.heal()
            await until(lambda: names(pair) == ["first"])
            await until(lambda: len(entries(pair)) == 1)
            await let_an_hour_pass(pair)
            await until(lambda: names(pair) == ["second"])
            await until(lambda: [sent for *_, sent, _ in entries(pair)] == [True])
            await let_an_hour_pass(pair)
            await until(lambda: entries(pair) == [])


async def test_processes_and_their_relays_at_once(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("live")
    settings = settings_of(mirror_wait=0.01)
    async with writer_of(settings, "p") as p, writer_of(settings, "q") as q:

        async def load(writer: Any, word: str) -> None:
            for number in range(40):
                rows = [client(key, name=f"{word}{number}") for key in range(number % 3, 12, 3)]
                await writer.upsert(Stage.LIVE, Client, rows, OutgoingWrite())

        await asyncio.gather(load(p, "p"), load(q, "q"), load(p, "o"), load(q, "r"))
        await until(lambda: entries(pair) == [])
        assert pair.texts("clients", "source") == pair.texts("clients", "target")
        assert len(names(pair)) == 12


@pytest.mark.parametrize("stage", ["off", "shadow", "complete"])
async def test_nothing_is_sent_at_a_stage_that_does_not(
    pair: Pair, settings_of: MakeSettings, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.set_stage(stage)
    pair.ask("INSERT INTO clients (yclients_id, company_id, phone) VALUES (7, 1, '7')")
    pair.ask(DUE, True)
    drains = Rounds(monkeypatch, Relay, "_drain")
    async with writer_of(settings_of()):
        await drains.go_by()
    assert (names(pair), entries(pair)) == ([], [(["7", "1"], 0, True, False, None)])


async def test_a_stage_that_no_command_moved_is_the_environment_s(
    pair: Pair, settings_of: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.ask(DUE, False)
    drains = Rounds(monkeypatch, Relay, "_drain")
    async with writer_of(settings_of()):
        await drains.go_by()
    assert len(entries(pair)) == 1
    async with writer_of(settings_of(cutover_stage="live")):
        await until(lambda: entries(pair) == [])


async def test_a_move_waits_for_a_send_and_a_late_sender_is_turned_away(
    pair: Pair, settings_of: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.set_stage("live")
    drains = Rounds(monkeypatch, Relay, "_drain")
    async with relay_to_supabase(pair) as relay:
        relay.hang()
        settings = settings_of(supabase_url=f"http://127.0.0.1:{relay.port}", mirror_wait=0.1, mirror_timeout=60)
        async with writer_of(settings) as writer:
            await writer.upsert(Stage.LIVE, Client, [client(7)], OutgoingWrite())
            await until(lambda: pair.ask(SENDING) != [])
            moving = asyncio.create_task(asyncio.to_thread(pair.set_stage, "shadow"))
            waiting = "wait_event_type = 'Lock' AND query LIKE 'UPDATE botdata.stage%'"
            await until(lambda: pair.ask(f"{SESSIONS} AND {waiting}") != [])
            assert names(pair) == []
            relay.heal()
            await moving
            assert (len(names(pair)), entries(pair)) == (1, [])
            pair.ask(DUE, True)
            pair.ask("UPDATE clients SET name = 'of the old authority'")
            await drains.go_by()
    assert (names(pair), len(entries(pair))) == ([None], 1)


async def test_the_pause_grows_with_each_refusal(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("live")
    pair.ask("ALTER TABLE clients ADD CONSTRAINT refuses CHECK (name <> 'bad')", store="source")
    pair.ask("INSERT INTO clients (yclients_id, company_id, phone, name) VALUES (7, 1, '7', 'bad'), (8, 1, '8', '')")
    pair.ask(DUE.replace(" 0, %s", " 4, false"))
    pair.ask(DUE.replace(" 0, %s", " 0, true").replace("{7,1}", "{8,1}"))
    try:
        with PageServer(pair.source) as pages:
            settings = settings_of(supabase_url=pages.url, supabase_key=pages.service_key, outcome_settles_after=3600.0)
            async with writer_of(settings):
                await until(lambda: [error for *_, error in entries(pair)][:1] != [None])
                await until(lambda: [sent for *_, sent, _ in entries(pair)] == [False, True])
                pair.ask("UPDATE botdata.outbox SET next_attempt_at = now() WHERE recheck_at IS NOT NULL")
                await until(lambda: len(entries(pair)) == 1)
                said = "a constraint refuses the row [SQLSTATE 23514]"
                assert entries(pair) == [(["7", "1"], 5, False, False, said)]
                ((seconds,),) = pair.ask(
                    "SELECT extract(epoch FROM next_attempt_at - now())::float FROM botdata.outbox"
                )
                assert 20 < seconds <= 32
                assert names(pair) == [""]
    finally:
        pair.ask("ALTER TABLE clients DROP CONSTRAINT refuses", store="source")


async def test_a_row_that_supabase_cannot_bear_does_not_stop_the_others(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("live")
    pair.ask(
        "INSERT INTO clients (yclients_id, company_id, phone, name) "
        "SELECT n, 1, n::text, CASE n WHEN 5 THEN 'poison' ELSE 'good' END FROM generate_series(1, 20) n; "
        "INSERT INTO botdata.outbox (process, table_name, key, unsure, next_attempt_at) "
        "SELECT 'dead', 'clients', ARRAY[n::text, '1'], false, now() FROM generate_series(1, 20) n"
    )
    # The lite server answers this with HTTP 500, from which nobody can tell what was done.
    pair.ask("ALTER TABLE clients ADD CONSTRAINT refuses CHECK (name <> 'poison')", store="source")
    try:
        async with writer_of(settings_of()):
            async with asyncio.timeout(60):
                while len(names(pair)) < 19:
                    await let_an_hour_pass(pair)
                    await asyncio.sleep(0.05)
    finally:
        pair.ask("ALTER TABLE clients DROP CONSTRAINT refuses", store="source")
