"""A command in this process: what it says and how it ends, also where it never would."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import in_process
from tests.support.in_process import run_here


def test_what_a_command_says(tmp_path: Path) -> None:
    here = Path.cwd()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    first, second = run_here(["--version"], tmp_path, {}), run_here(["verify", "--nothing"], tmp_path, {})
    assert (first.code, first.out.partition(" ")[0]) == (0, "botdata")
    assert (second.code, "No such option" in second.err) == (2, True)
    assert Path.cwd() == here
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]


async def _wait_for_ever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("hang", [lambda: time.sleep(30), lambda: asyncio.run(_wait_for_ever())], ids=["code", "loop"])
def test_one_that_does_not_end(hang: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_process, "botdata", hang)
    said = run_here(["verify"], tmp_path, {}, seconds=0.2)
    assert said.code == 1
    assert "Traceback: no end within" in said.err


def test_one_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ValueError("as it happens")

    monkeypatch.setattr(in_process, "botdata", fail)
    assert "Traceback: ValueError: as it happens" in run_here(["verify"], tmp_path, {}).err
