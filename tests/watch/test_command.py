"""`botdata watch` as a process: its first lines, its end, and what it says where it cannot begin."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import httpx
import pytest

from tests.cli.command import Command, start
from tests.fixtures.cutover import Pair
from tests.watch.watching import Watch


def _environment(pair: Pair, **more: str) -> dict[str, str]:
    supabase = pair.supabase
    return {
        "SUPABASE_URL": supabase.url, "SUPABASE_KEY": supabase.service_key, "DATABASE_URL": pair.target, **more,
    }  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_once(pair: Pair, tmp_path: Path, number: signal.Signals) -> None:
    process = start("watch", "--port", "0", directory=tmp_path, **_environment(pair, WATCH_METRICS_TOKEN="planted"))
    with Watch(process) as watch:
        assert "The page moves nothing; with --allow-moves it can." in watch.said
        assert "/metrics is open to the bearer of WATCH_METRICS_TOKEN" in watch.said
        assert "planted" not in watch.said
        with pytest.raises(HTTPError) as refused:
            urllib.request.urlopen(watch.address.partition("?")[0], timeout=10)
        assert refused.value.code == 403
        refused.value.close()
        assert watch.end(number, seconds=20) == ("", 0)


def test_a_move_under_way_is_given_up_at_the_end(pair: Pair, tmp_path: Path) -> None:
    pair.set_stage("live")
    pair.ask(
        "INSERT INTO botdata.processes (name, stage, chosen_by, stage_since) "
        "VALUES ('bot-1:4711:a1b2c3', 'live', 'CUTOVER_STAGE=database', now())"  # and never holds its writes
    )
    environment = _environment(pair, CUTOVER_HOLD="60")
    process = start("watch", "--port", "0", "--allow-moves", directory=tmp_path, **environment)
    with Watch(process) as watch, httpx.Client(follow_redirects=True) as browser, ThreadPoolExecutor(1) as beside:
        here = watch.address.partition("/?")[0]
        browser.get(watch.address)
        csrf = browser.get(f"{here}/facts").json()["csrf"]
        sent = {"Origin": here, "X-CSRF-Token": csrf}
        asked = {"kind": "back", "stage": "live"}
        moved = beside.submit(browser.post, f"{here}/move", json=asked, headers=sent, timeout=120)
        deadline = time.monotonic() + 60
        while pair.ask("SELECT state FROM botdata.moves") != [("holding",)]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        said, code = watch.end()
        assert (said, code) == ("", 0)
        assert moved.result().json()["said"] == "botdata watch was ended"
    assert pair.ask("SELECT state FROM botdata.moves") == [("given up",)]
    assert pair.ask("SELECT stage FROM botdata.stage") == [("live",)]


def test_the_terminal_shows_the_gates_and_ends_well(pair: Pair, tmp_path: Path) -> None:
    # A pipe that is taken for a terminal: not every machine that runs the tests has pseudo-terminals.
    environment = {"TERM": "xterm", "COLUMNS": "120", "LINES": "60", "TTY_COMPATIBLE": "1"}
    process = start("watch", "--terminal", directory=tmp_path, **_environment(pair, **environment))
    assert process.stdout is not None
    shown, deadline = b"", time.monotonic() + 60
    while b"against dualwrite:" not in shown:
        assert time.monotonic() < deadline, shown
        shown += os.read(process.stdout.fileno(), 65536)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert "\x1b[?1049l" in rest  # the screen that was there before
    assert re.search(rb"stage: off, authority: Supabase", shown)


def test_a_port_that_is_taken(command: Command, pair: Pair) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = command("watch", "--port", port, **_environment(pair))
    assert said.code == 1
    assert f"port {port} cannot be used: Address already in use; any free one: botdata watch --port 0" in said.err


def test_without_the_extra(command: Command, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(find: Callable[..., Any]) -> Callable[..., Any]:
        def found(name: str, *rest: Any) -> Any:
            if name.partition(".")[0] in {"uvicorn", "starlette"}:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            return find(name, *rest)

        return found

    for name in ("app.watch.server", "app.watch.guard", "uvicorn", "starlette"):
        for loaded in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
            monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setattr("builtins.__import__", without(__import__))
    said = command("watch", **_environment(pair))
    assert said.code == 1
    assert "pip install '.[watch]'; without them: botdata watch --terminal" in said.err
