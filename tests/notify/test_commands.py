"""What the commands tell: each event reaches a server, also after it was away, and no receiver stops a command."""

from __future__ import annotations

import pytest

from app.notify import channels
from tests.cli.command import Command
from tests.cli.test_json import check_document
from tests.fixtures.cutover import Pair
from tests.migration.engine import add_clients, execute, query, value
from tests.notify.receiver import Receiver, receiving
from tests.support.page_server import PageServer

TABLES = ["--tables", "clients"]
ERRORS = "SELECT DISTINCT last_error FROM botdata.notifications"
NOWHERE = "postgresql://somebody:password-of-the-database@127.0.0.1:9/x"


@pytest.fixture
def settings(pages: PageServer, source_database: str, database_url: str, receiver: Receiver) -> dict[str, str]:
    add_clients(source_database, 5)
    return {
        "SUPABASE_URL": pages.url,
        "SUPABASE_KEY": pages.service_key,
        "DATABASE_URL": database_url,
        "NOTIFY_URL": receiver.url,
    }


def test_the_steps_of_a_move(command: Command, settings: dict[str, str], receiver: Receiver) -> None:
    assert command("copy", *TABLES, **settings).code == 0
    execute(settings["DATABASE_URL"], "UPDATE clients SET name = 'x' WHERE id = 3")
    assert command("verify", *TABLES, **settings).code == 1
    assert command("sync", *TABLES, **settings).code == 0
    events = receiver.events
    assert [(event["event"], event["facts"]["step"]) for event in events] == [
        ("step_begun", "copy"), ("step_done", "copy"),
        ("step_begun", "verify"), ("differences_found", "verify"), ("step_done", "verify"),
        ("step_begun", "sync"), ("step_done", "sync"),
    ]  # fmt: skip
    assert len({event["id"] for event in events}) == len(events)
    assert events[1]["facts"] | {"seconds": 0, "run": 0} == {
        "step": "copy", "options": [], "complete": True, "run": 0, "tables": 1, "rows": 5, "refused": 0, "seconds": 0,
    }  # fmt: skip
    assert events[1]["next"] == "botdata verify --tables clients"
    assert events[3]["facts"]["tables"] == [{"table": "clients", "rows": 1}]
    assert events[4]["facts"]["complete"] is False
    told = "SELECT count(*), count(delivered_at), count(claimed_by), max(tries) FROM botdata.notifications"
    assert query(settings["DATABASE_URL"], told) == [(7, 7, 0, 1)]


@pytest.mark.first_command
def test_a_whole_move_into_a_target_without_schema(
    command: Command, settings: dict[str, str], receiver: Receiver
) -> None:
    """What begins before there is a table to write events to is told all the same."""
    assert command("migrate", *TABLES, **settings).code == 0
    assert receiver.kinds == ["step_begun", "step_done"]
    assert receiver.events[1]["facts"]["verify"]["rows"] == 5
    assert value(settings["DATABASE_URL"], "SELECT count(*) FROM botdata.notifications") == 1


def test_what_was_told_while_the_receiver_was_away_comes_later(command: Command, settings: dict[str, str]) -> None:
    with receiving() as gone:
        port = gone.port
    away = {**settings, "NOTIFY_URL": gone.url}
    assert command("verify", *TABLES, **away).code == 1
    assert query(settings["DATABASE_URL"], ERRORS) == [("unreachable",)]
    assert (
        "notifications: 3 wait, 0 given up (last error: unreachable): botdata notify" in command("status", **away).out
    )
    left = check_document(command("notify", "--json", **away).out, "notify")
    assert (left["ok"], left["delivered"], left["waiting"]) == (False, 0, 3)
    with receiving(port) as back:
        execute(settings["DATABASE_URL"], "UPDATE botdata.notifications SET next_try_at = now() WHERE number < 3")
        assert command("sync", *TABLES, **away).code == 0  # the next command brings what is due
        assert sorted(back.kinds) == ["differences_found", "step_begun", "step_begun", "step_done"]
        assert "1 sent, 0 still wait, 0 given up\n" in command("notify", **away).out
        assert len({event["id"] for event in back.events}) == 5


def test_what_nobody_took_for_a_day_is_given_up_and_shown(
    command: Command, settings: dict[str, str], receiver: Receiver
) -> None:
    receiver.status = 500
    assert command("copy", *TABLES, **settings).code == 0
    execute(settings["DATABASE_URL"], "UPDATE botdata.notifications SET happened_at = now() - interval '25 hours'")
    receiver.status = 200
    assert command("sync", *TABLES, **settings).code == 0
    assert receiver.kinds[-2:] == ["step_begun", "step_done"]
    assert "notifications: 0 wait, 2 given up (last error: http 500)" in command("status", **settings).out


def test_a_lost_target_is_told_past_it(command: Command, settings: dict[str, str], receiver: Receiver) -> None:
    outcome = command("verify", *TABLES, **{**settings, "DATABASE_URL": NOWHERE})
    assert outcome.code == 1
    begun, stopped = sorted(receiver.events, key=lambda event: str(event["event"]))
    assert (begun["event"], stopped["event"], stopped["target"]) == ("step_begun", "step_stopped", "127.0.0.1:9/x")
    assert "cannot be reached" in stopped["facts"]["why"]
    assert stopped["next"].endswith("then: botdata verify --tables clients")
    assert b"password-of-the-database" not in b"".join(receiver.bodies)


def test_a_receiver_that_hangs_keeps_no_command(
    command: Command, settings: dict[str, str], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.hold.clear()
    monkeypatch.setattr(channels, "LONGEST", 0.3)
    assert command("sync", *TABLES, **settings).code == 0
    assert query(settings["DATABASE_URL"], ERRORS) == [("timeout",)]
    monkeypatch.setattr("app.notify.delivery._AT_THE_END", 0.1)
    monkeypatch.setattr(channels, "LONGEST", 60.0)
    assert command("sync", *TABLES, **settings).code == 0
    claimed = "SELECT count(*) > 0 FROM botdata.notifications WHERE claimed_until > now() AND last_error IS NULL"
    assert value(settings["DATABASE_URL"], claimed)


def test_nothing_is_written_where_nobody_wants_to_be_told(command: Command, settings: dict[str, str]) -> None:
    del settings["NOTIFY_URL"]
    assert command("sync", *TABLES, **settings).code == 0
    assert value(settings["DATABASE_URL"], "SELECT count(*) FROM botdata.notifications") == 0
    outcome = command("notify", "--test", **settings)
    assert (outcome.code, "neither NOTIFY_URL nor NOTIFY_COMMAND is set" in outcome.err) == (1, True)


def test_a_test_needs_no_database(command: Command, receiver: Receiver) -> None:
    took = command("notify", "--test", NOTIFY_URL=receiver.url)
    assert (took.code, took.out) == (0, "NOTIFY_URL: took the test (http 200)\n")
    (event,) = receiver.events
    assert (event["event"], event["target"], event["text"]) == ("test", None, event["summary"])
    receiver.status = 404
    outcome = command("notify", "--test", "--json", NOTIFY_URL=receiver.url, NOTIFY_COMMAND="false")
    document = check_document(outcome.out, "notify")
    assert document["channels"] == [
        {"channel": "url", "ok": False, "answer": "http 404"},
        {"channel": "command", "ok": False, "answer": "exit 1"},
    ]
    assert (outcome.code, document["ok"]) == (1, False)
    assert "secret" not in outcome.out + outcome.err + took.err


def test_the_moves_of_the_stage(command: Command, pair: Pair, receiver: Receiver) -> None:
    environment = {
        "SUPABASE_URL": pair.supabase.url,
        "SUPABASE_KEY": pair.supabase.service_key,
        "DATABASE_URL": pair.target,
        "NOTIFY_URL": receiver.url,
    }
    reason = f"asked by +7 (900) 000-00-07 with {pair.supabase.service_key}"
    assert command("cutover", "advance", **environment).code == 1  # refused, so nothing is told
    assert command("cutover", "advance", "--force", reason, **environment).code == 0
    assert command("cutover", "back", **environment).code == 0
    there, back = receiver.events
    assert (there["event"], back["event"]) == ("stage_moved", "stage_moved")
    assert {name: there["facts"][name] for name in ("from", "to", "forced")} == {
        "from": "off", "to": "dualwrite", "forced": True,
    }  # fmt: skip
    assert there["facts"]["reason"] == "asked by +7900***0007 with ***"
    assert "no process of the bot reports itself" in there["facts"]["said"]
    assert (back["facts"]["to"], back["facts"]["forced"]) == ("off", False)
    pair.ask(
        "INSERT INTO botdata.processes (name, stage, chosen_by, reported_at) "
        "VALUES ('bot:1:aaaaaa', 'off', 'CUTOVER_STAGE=database', now() - interval '1 h')"
    )
    assert command("cutover", "forget", "bot:1:aaaaaa", **environment).code == 0
    assert receiver.events[-1]["event"] == "cutover_changed"
    assert receiver.events[-1]["facts"]["subject"] == "bot:1:aaaaaa"
