"""Each event of docs/notifications.md arrives by both ways, after its receiver was away, without what was planted."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest

from app.cutover.moves.steps import advance
from app.errors import MigrationError
from app.next_step import Command, NextStep
from app.notify import looking as looking_module
from app.notify.channels import TryOutcome
from app.notify.delivery import try_channels
from app.notify.looking import look_for_trouble, looking, then_tell
from app.notify.steps import Step, StepEnd, tell_step
from app.settings import Settings
from tests.fixtures.cutover import MakeSettings, Pair
from tests.notify.receiver import deliver, receiving, until

PAGE = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text(encoding="utf-8")
KINDS = set(re.findall(r"^\| `(\w+)` \| (?!text|object)", PAGE, re.MULTILINE))
PHONE = "+7 (900) 000-00-07"
PASSWORD = "swordfish-of-the-source"
PLANTED = f"{PHONE} 79000000007 {PASSWORD} postgresql://reader:{PASSWORD}@source.example/salon"
WRITE = 'printf "%s\\n" "$BOTDATA_EVENT" >> {0}/kinds; env >> {0}/environments'


def _step(name: str) -> Step:
    return Step(name, "source.example/salon", lambda error: str(error.next_step))


async def _take_steps(settings: Settings) -> None:
    async def work() -> None:
        pass

    async def fail() -> None:
        next_step = NextStep(f"{PLANTED}; ", Command("copy", f"--source {PLANTED}"))
        raise MigrationError(PLANTED, step="copy", table=PLANTED, done=PLANTED, pending=PLANTED, next_step=next_step)

    end = StepEnd(False, PLANTED, {"told": PLANTED}, PLANTED, {PLANTED: 3})
    await tell_step(settings, _step("verify"), work, lambda _: end)
    with pytest.raises(MigrationError):
        await tell_step(settings, _step("copy"), fail, lambda _: end)


async def _change_all(pair: Pair, settings: Settings) -> None:
    """What is looked for goes wrong, and is well again."""
    await then_tell(settings, advance(settings, force=f"{PLANTED} {pair.supabase.service_key}"))
    pair.ask(
        "INSERT INTO botdata.moves (kind, subject, state, ended_at, done_by, reason, said) "
        f"VALUES ('forget', '{PLANTED}', 'done', now(), '{PLANTED}', '{PLANTED}', '{PLANTED}')"
    )
    pair.ask(f"INSERT INTO botdata.processes (name, stage, chosen_by) VALUES ('{PLANTED}', 'dualwrite', '{PLANTED}')")
    await look_for_trouble(settings)
    pair.ask("UPDATE botdata.processes SET reported_at = now() - interval '1 h'")
    pair.ask(
        "INSERT INTO botdata.notes (process, table_name, key, noted_at, last_error) "
        f"VALUES ('p', 'clients', '{{79000000007}}', now() - interval '1 h', '{PLANTED}')"
    )
    pair.ask(
        "INSERT INTO botdata.runs (command, source) VALUES ('copy', 's'); INSERT INTO botdata.quarantine "
        "(run_id, table_name, key, row_text, sqlstate, message) "
        f"VALUES (1, '{PLANTED}', '{{79000000007}}', '{{}}', 'x', '{PLANTED}')"
    )
    await look_for_trouble(settings)
    pair.ask("UPDATE botdata.processes SET reported_at = now() + interval '1 min'")
    pair.ask("DELETE FROM botdata.notes; DELETE FROM botdata.quarantine")
    await look_for_trouble(settings)


async def test_each_event_arrives_and_holds_nothing_personal(
    pair: Pair,
    settings_of: MakeSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("SUPABASE_KEY", pair.supabase.service_key)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://owner:{PASSWORD}@localhost/x")
    monkeypatch.setattr(looking_module, "_GATES_EVERY", -1.0)
    monkeypatch.setattr(looking_module, "_EVERY", 0.02)
    program = tmp_path / "tell"
    program.write_text(f"#!/bin/sh\nset -e\ntest -e {tmp_path}/back\n{WRITE.format(tmp_path)}\n")
    program.chmod(0o700)
    with receiving() as gone:
        port, url = gone.port, gone.url
    given: dict[str, Any] = {
        "notify_url": url,
        "notify_command": str(program),
        "migration_source": f"postgresql://reader:{PASSWORD}@source.example/salon",
    }
    settings = settings_of(**given)
    await _take_steps(settings)
    await _change_all(pair, settings)
    assert not (tmp_path / "kinds").exists()
    answers = pair.ask(
        "SELECT DISTINCT channel, last_error FROM botdata.notifications WHERE last_error <> '' ORDER BY 1"
    )
    assert answers == [("command", "exit 1"), ("url", "unreachable")]

    (tmp_path / "back").touch()
    with receiving(port) as receiver:
        assert await try_channels(settings) == {
            "url": TryOutcome(True, "http 200"),
            "command": TryOutcome(True, "exit 0"),
        }
        await deliver(settings, at_once=True)
        reached = [False]

        async def look(_: Settings) -> bool:
            if reached[0]:
                await deliver(settings)
            return reached[0]

        with monkeypatch.context() as away:
            away.setattr(looking_module, "look_for_trouble", look)
            async with looking(settings.model_copy(update={"notify_silence": 0.01})):
                await until(lambda: "target_away" in receiver.kinds)
                reached[0] = True
                await until(lambda: (tmp_path / "kinds").read_text().endswith("target_back\n"))
    assert set(receiver.kinds) == set((tmp_path / "kinds").read_text().split()) == KINDS
    assert len({event["id"] for event in receiver.events}) == len(receiver.events)
    everything = "\n".join(
        (*map(bytes.decode, receiver.bodies), (tmp_path / "environments").read_text(), caplog.text, str(answers))
    )
    secrets = (PASSWORD, "path-that-is-secret", pair.supabase.service_key)
    assert [
        one for one in (*secrets, "9000000007", "000-00-07", "SUPABASE_KEY", "DATABASE_URL=") if one in everything
    ] == []
