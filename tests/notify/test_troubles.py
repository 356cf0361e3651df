"""What a following sync and watch look for: each change is told once, and once more when it is back."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from psycopg import AsyncConnection

from app.notify import looking as looking_module
from app.notify.delivery import Away
from app.notify.looking import look_for_trouble
from app.settings import Settings
from app.state.tool_schema import is_current
from tests.fixtures.cutover import MakeSettings, Pair
from tests.notify.receiver import Receiver
from tests.support.relay import Relay, postgres_address

ONE = "bot:1:aaaaaa"


class Watched:
    """A cutover that is looked at by two processes each time."""

    def __init__(self, pair: Pair, settings: Settings, receiver: Receiver) -> None:
        self.at_once = 2
        self.ask = pair.ask
        self.settings = settings
        self.receiver = receiver

    async def look(self) -> list[dict[str, Any]]:
        """What is told by a look."""
        before = len(self.receiver.bodies)
        await asyncio.gather(*(look_for_trouble(self.settings) for _ in range(self.at_once)))
        return self.receiver.events[before:]

    async def kinds(self) -> list[str]:
        return [event["event"] for event in await self.look()]


@pytest.fixture
def watched(pair: Pair, settings_of: MakeSettings, receiver: Receiver) -> Watched:
    return Watched(pair, settings_of(notify_url=receiver.url, notify_waiting=10), receiver)


async def test_outbox_and_journal(watched: Watched) -> None:
    assert await watched.kinds() == []
    watched.ask(
        "INSERT INTO botdata.outbox (process, table_name, key, recorded_at) "
        "VALUES ('p', 'clients', '{79000000007}', now() - interval '301 s')"
    )
    (event,) = await watched.look()
    assert (event["event"], event["facts"]["limit"], event["facts"]["waiting"]) == ("limit_passed", "outbox", 1)
    assert "9000000007" not in json.dumps(event)
    assert await watched.kinds() == []
    watched.ask(
        "INSERT INTO botdata.notes (process, table_name, key) SELECT 'p', 'clients', '{1}' FROM generate_series(1, 11)"
    )
    (event,) = await watched.look()
    assert (event["event"], event["facts"]["limit"], event["facts"]["waiting"]) == ("limit_passed", "journal", 11)
    watched.ask("DELETE FROM botdata.notes; DELETE FROM botdata.outbox")
    assert await watched.kinds() == ["limit_back", "limit_back"]
    assert await watched.kinds() == []


async def test_what_is_kept_for_the_way_back_is_no_trouble(pair: Pair, watched: Watched) -> None:
    pair.set_stage("complete")
    watched.ask(
        "INSERT INTO botdata.outbox (process, table_name, key, recorded_at) VALUES ('p', 'clients', '{1}', 'epoch')"
    )
    assert await watched.kinds() == []


async def test_the_lag_of_a_sync(watched: Watched) -> None:
    watched.ask("INSERT INTO botdata.runs (command, source) VALUES ('sync', 's')")
    synced = (
        "INSERT INTO botdata.synced_tables (table_name, source, began_at) VALUES ('{}', 's', now() - interval '{} s')"
    )
    watched.ask(synced.format("clients", 400))
    watched.ask(synced.format("bookings", 350))
    (event,) = await watched.look()
    assert (event["event"], event["facts"]["limit"]) == ("limit_passed", "lag")
    assert 349 < event["facts"]["seconds"] < 360
    watched.ask("UPDATE botdata.synced_tables SET began_at = now()")
    assert await watched.kinds() == ["limit_back"]
    watched.ask("UPDATE botdata.synced_tables SET began_at = 'epoch'; UPDATE botdata.runs SET state = 'complete'")
    assert await watched.kinds() == []  # a sync that has ended owes nothing


async def test_a_process_that_falls_silent(watched: Watched) -> None:
    watched.ask(
        f"INSERT INTO botdata.processes (name, stage, chosen_by) VALUES ('{ONE}', 'off', 'CUTOVER_STAGE=database')"
    )
    assert await watched.kinds() == []
    watched.ask("UPDATE botdata.processes SET reported_at = now() - interval '31 s'")
    (event,) = await watched.look()
    assert (event["event"], event["facts"]["process"]) == ("process_silent", ONE)
    assert event["next"].endswith(f"botdata cutover forget {ONE}")
    assert await watched.kinds() == []
    watched.ask("UPDATE botdata.processes SET reported_at = now()")
    assert await watched.kinds() == ["process_back"]
    watched.ask("DELETE FROM botdata.processes")  # a goodbye
    assert await watched.kinds() == []


async def test_a_gate_that_held_and_does_not_any_more(
    pair: Pair, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking_module, "_GATES_EVERY", -1.0)
    watched.at_once = 1
    pair.set_stage("dualwrite")
    assert await watched.kinds() == []  # gates that never held do not break
    watched.ask(
        "INSERT INTO botdata.runs (command, source, state) VALUES ('copy', 's', 'complete'); INSERT INTO "
        "botdata.quarantine (run_id, table_name, key, row_text, sqlstate, message) "
        "VALUES (1, 'clients', '{7}', '{}', 'x', 'x')"
    )
    (event,) = await watched.look()
    assert (event["event"], event["facts"]["gate"], event["facts"]["stage"]) == ("gate_broke", "quarantine", "shadow")
    assert event["facts"]["objections"] == ["clients: 1 rows in quarantine"]
    assert event["next"] == "botdata quarantine list --tables clients"
    watched.ask("DELETE FROM botdata.quarantine")
    assert await watched.kinds() == ["gate_holds"]


async def test_the_gates_are_asked_once_in_a_while(pair: Pair, watched: Watched) -> None:
    pair.set_stage("dualwrite")
    await watched.kinds()
    (asked,) = watched.ask("SELECT since FROM botdata.conditions WHERE topic = 'turn'")
    await watched.kinds()
    assert watched.ask("SELECT since FROM botdata.conditions WHERE topic = 'turn'") == [asked]


async def test_moves_that_others_made(pair: Pair, watched: Watched) -> None:
    move = (
        "INSERT INTO botdata.moves (kind, from_stage, to_stage, state, ended_at, done_by) "
        "VALUES ('advance', 'off', 'dualwrite', '{}', now() - interval '{}', 'me@here')"
    )
    for state, age in (("done", "2 h"), ("given up", "1 s"), ("done", "1 s")):
        watched.ask(move.format(state, age))
    (event,) = await watched.look()
    assert (event["event"], event["facts"]["by"], event["facts"]["forced"]) == ("stage_moved", "me@here", False)
    assert await watched.kinds() == []


async def test_a_target_that_is_away_disturbs_nobody(settings_of: MakeSettings, receiver: Receiver) -> None:
    given: dict[str, Any] = {"notify_url": receiver.url, "database_url": "postgresql://x@127.0.0.1:9/x"}
    assert await look_for_trouble(settings_of(**given)) is False


async def test_a_target_that_hangs_is_one_that_is_away(
    pair: Pair, settings_of: MakeSettings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took the login, and answers nothing more."""
    monkeypatch.setattr(looking_module, "_PATIENCE", 0.5)
    with Relay(postgres_address(pair.target)) as relay:
        settings = settings_of(notify_url=receiver.url, database_url=relay.way(pair.target))

        async def hang(connection: AsyncConnection) -> bool:
            relay.hang()
            asyncio.get_running_loop().call_later(1.5, relay.cut)  # or the driver waits ten seconds for it to give up
            return await is_current(connection)

        monkeypatch.setattr(looking_module, "is_current", hang)
        assert await look_for_trouble(settings) is False
        monkeypatch.setattr(looking_module, "is_current", is_current)
        relay.heal()
        assert await look_for_trouble(settings) is True


async def test_a_look_that_may_not_write_says_so_once(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.ask("DROP TABLE botdata.conditions")
    assert await watched.kinds() == await watched.kinds() == []
    assert [text for text in caplog.messages if "what happens can be told in part only" in text] == [
        "what happens can be told in part only: UndefinedTable [SQLSTATE 42P01]: "
        'relation "botdata.conditions" does not exist'
    ]


async def test_a_target_that_is_away_is_told_once_to_each(
    pair: Pair, settings_of: MakeSettings, receiver: Receiver
) -> None:
    """One of the two ways fails meanwhile: it is told later, and the other one is not told again."""
    given: dict[str, Any] = {"notify_url": receiver.url, "notify_command": "false"}
    settings = settings_of(**given)
    away = Away(settings.model_copy(update={"notify_silence": 0.0}))
    for answers in (True, False, False, False, True, True):
        await away.note(answers=answers)
    assert receiver.kinds == ["target_away"]
    left = "SELECT channel, document->>'event', id::text FROM botdata.notifications ORDER BY number"
    assert [row[:2] for row in pair.ask(left)] == [
        ("command", "target_away"), ("url", "target_back"), ("command", "target_back"),
    ]  # fmt: skip
    assert pair.ask(left)[0][2] == receiver.events[0]["id"]
