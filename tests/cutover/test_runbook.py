"""docs/cutover.md: its commands in their order, there and back, while bots read and write and a person talks to one."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from app.cutover.stages import Stage, Store
from tests.cutover.load import THRESHOLDS, Bots
from tests.cutover.servers import Servers
from tests.examples.chat import Chat, assert_all_answered, talking

_TEXT = (Path(__file__).parents[2] / "docs" / "cutover.md").read_text(encoding="utf-8")


def _commands(heading: str) -> list[str]:
    """The commands below a heading, up to the next one."""
    (part,) = re.findall(rf"^##+ {heading}.*?\n(.*?)(?=^##|\Z)", _TEXT, re.MULTILINE | re.DOTALL)
    return re.findall(r"^ *\$ botdata (.*)$", part, re.MULTILINE)


def _run(servers: Servers, commands: list[str], to: Stage | None = None) -> None:
    """Run commands, and again, as their messages ask, until the stage is reached; a bot's writes may come between."""
    deadline = time.monotonic() + 300
    while True:
        well = True
        for line in commands:
            words = [*line.split(), *(THRESHOLDS if line.startswith("cutover advance") else ())]
            said = servers.botdata(*words, refusable=True)
            assert said.code in {0, 1}, said.text  # 2: there is no such command or option
            well &= said.code == 0
        if well:
            assert to is None or servers.stage == to
            return
        assert time.monotonic() < deadline, commands
        assert to is None or servers.stage != to, commands


@pytest.mark.budget(60)
def test_there_and_back_as_the_runbook_has_it(servers: Servers) -> None:
    order = list(Stage)
    moved, moved_back = _commands("Tables that no method writes")[:3], _commands("Tables that no method writes")[3:]
    assert moved[-1] == "cutover table bookings postgres"
    assert moved_back[-1] == "cutover table bookings supabase"
    with Bots(servers, 2) as bots, Chat(servers) as chat:
        bots.write_on(5)
        with talking(chat) as answers:
            (_, status) = _commands("Before")
            _run(servers, [status])
            (dry_run, advance) = _commands("Each step")
            assert dry_run == f"{advance} --dry-run"
            _run(servers, [dry_run])
            _run(servers, [advance], Stage.DUALWRITE)
            _run(servers, _commands("dualwrite"))
            for stage in order[2:]:
                lines = _commands(stage)
                number = lines.index(advance) + 1
                bots.write_on(5)
                _run(servers, lines[:number], stage)
                _run(servers, lines[number:])
            _run(servers, moved)
            _run(servers, moved_back)
            for line in _commands("Back"):
                here = Stage(servers.stage)
                if line == "cutover back":
                    last = time.monotonic()
                _run(servers, [line], here.previous if line == "cutover back" else None)
        assert chat.end() == ("Goodbye.\n", "", 0)
    assert servers.stage == Stage.OFF
    assert_all_answered(answers)
    history = bots.history
    assert (history.errors, history.stale) == ([], [])
    assert history.acknowledged > 100
    # What was written at the last stage, `off`, is for the next sync to bring.
    assert history.lost(servers.tokens(Store.POSTGRES), before=last) == []
    servers.botdata("sync")
    for store in Store:
        assert history.lost(servers.tokens(store)) == []
    assert servers.differing() == []
    report = json.loads(servers.botdata("cutover", "report", "--json").out)
    assert report["differences"] == []
    assert sum(method["equal"] for method in report["methods"]) > 10
