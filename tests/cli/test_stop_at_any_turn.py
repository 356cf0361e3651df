"""A command ends as Ctrl-C says wherever its event loop is at that, and leaves no session, database or task."""

import json
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from tests.cli.command import VARIABLES, wait_for_sessions_to_end
from tests.migration.engine import add_clients, query
from tests.support import faults
from tests.support.page_server import PageServer

_ROOT = Path(__file__).parents[2]
_REHEARSE = ("rehearse", "--yes", "--without-cutover", "--accept-unknown-disk")


def _stop(
    words: Collection[str], turns: Collection[int], pages: PageServer, database_url: str, tmp_path: Path, pause: float
) -> int:
    """Stop a command at each of these turns, as far as it comes; at how many it was stopped."""
    environment = {name: text for name, text in os.environ.items() if name not in VARIABLES} | {
        "SUPABASE_URL": pages.url,
        "SUPABASE_KEY": pages.service_key,
        "DATABASE_URL": database_url,
        "PYTHONPATH": str(_ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.stopped", json.dumps(list(words)), json.dumps(list(turns)), str(pause)],
        cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    ends = [json.loads(line) for line in done.stdout.splitlines()]
    for end in ends:
        assert (end["code"] == 130) == end["stopped"], end
        assert "Traceback" not in end["said"], end
        assert "Task " not in end["said"], end
        assert not end["stopped"] or "\nStopped." in end["said"], end
    wait_for_sessions_to_end(database_url)
    return sum(end["stopped"] for end in ends)


def _hang_in_the_copy(request: faults.Request) -> faults.Fault | None:
    return faults.delivered(faults.Delivery.NEVER) if request.parameter("order") else None


def test_a_copy_whose_source_hangs(tmp_path: Path, pages: PageServer, source_database: str, database_url: str) -> None:
    add_clients(source_database, 1)
    pages.hook = _hang_in_the_copy
    turns = range(40, 700, 150)
    assert _stop(["copy"], turns, pages, database_url, tmp_path, 0.0) == len(turns)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("pause", [0.0, 0.02])
@pytest.mark.parametrize("over", ["REST", "a connection"])
@pytest.mark.parametrize("words", [("copy",), ("verify",), ("sync",), ("preflight",), ("migrate",), _REHEARSE])
def test_any_command(
    tmp_path: Path,
    pages: PageServer,
    source_database: str,
    database_url: str,
    words: tuple[str, ...],
    over: str,
    pause: float,
) -> None:
    add_clients(source_database, 1)
    given = ("--source", source_database) if over == "a connection" else ()
    assert _stop([*words, *given], range(3, 3000, 41), pages, database_url, tmp_path, pause) > 5
    if words is _REHEARSE:
        left = "SELECT count(*) FROM botdata.rehearsals WHERE removed_at IS NULL"
        assert query(database_url, left) == [(0,)]
