"""The whole rehearsal of a made-up salon, the cutover too; and killed at each step it leaves nothing."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.embedded.salon import fill_salon
from tests.cli.command import start
from tests.cli.test_json import check_document
from tests.fixtures.sources import TABLES
from tests.migration.engine import execute, row_texts
from tests.rehearsal.left import databases_left, directories_left, not_removed, processes_left
from tests.support.supabase import SupabaseServer

pytestmark = pytest.mark.soak
_MOVES = [
    *(f"advance: {stage}" for stage in ("dualwrite", "shadow", "live", "rampdown", "complete")),
    *(f"back: {stage}" for stage in ("rampdown", "live", "shadow", "dualwrite", "off")),
]
_STEPS = [
    "preflight",
    "revisions",
    "copy",
    "verify",
    "sync beside the living source",
    "cutover: stand-in source started and filled",
    "cutover: the stand-in taken for the source",
    "cutover: 2 example processes started",
    *(f"cutover {move}" for move in _MOVES),
    "cutover: no write lost",
]


@pytest.fixture
def settings(lite_server: SupabaseServer, database_url: str) -> dict[str, str]:
    """The demo's salon behind a Supabase, and a target."""
    execute(lite_server.database_url, f"TRUNCATE {TABLES} RESTART IDENTITY")
    fill_salon(lite_server.database_url)
    return {
        "SUPABASE_URL": lite_server.url,
        "SUPABASE_KEY": lite_server.service_key,
        "DATABASE_URL": database_url,
        "CUTOVER_STAGE": "off",
        "CUTOVER_SPOOL": "/nonexistent/spool",  # the owner's own is not touched
    }


@pytest.fixture
def began(settings: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A rehearsal that has begun."""
    words = ("rehearse", "--yes", "--json", "--accept-unknown-disk")
    with start(*words, directory=tmp_path, **settings) as process:
        yield process
        process.kill()


def _nothing_left(url: str, temporary: Path) -> None:
    deadline = time.monotonic() + 60
    while left := processes_left(temporary):  # they end by themselves when the rehearsal does
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert (databases_left(url), not_removed(url), directories_left(temporary)) == ([], 0, [])


def test_it_is_done_there_and_back_and_leaves_nothing(
    began: subprocess.Popen[str], lite_server: SupabaseServer, database_url: str, tmp_path: Path, temporary: Path
) -> None:
    rows = {name: row_texts(lite_server.database_url, name) for name in TABLES.split(", ")}
    out, err = began.communicate(timeout=300)
    assert began.returncode == 0, err
    document = check_document(out, "rehearse")
    assert [(step["step"], step["state"]) for step in document["steps"]] == [(name, "passed") for name in _STEPS]
    assert all(step["seconds"] > 0 for step in document["steps"])
    assert document["steps"][-1]["rows"] > 0
    assert document["not_rehearsed"] == []
    assert {name: row_texts(lite_server.database_url, name) for name in rows} == rows
    _nothing_left(database_url, temporary)
    assert list(tmp_path.iterdir()) == []
    said = out + err
    for (phone,) in [row.split(",")[3:4] for row in rows["clients"][:5]]:
        assert phone.strip('"') not in said


@pytest.mark.parametrize(
    ("step", "number"),
    [
        *((step, signal.SIGKILL) for step in _STEPS),
        *((step, signal.SIGTERM) for step in ("copy", _STEPS[5], "cutover advance: live")),
        ("cutover back: shadow", signal.SIGINT),
    ],
)
def test_ended_at_any_step_it_leaves_nothing_after_the_next_start(
    began: subprocess.Popen[str],
    settings: dict[str, str],
    tmp_path: Path,
    temporary: Path,
    step: str,
    number: signal.Signals,
) -> None:
    assert began.stderr is not None
    for line in began.stderr:
        if line.strip() == f"rehearse: {step}":
            break
    time.sleep(0.1 * _STEPS.index(step) % 0.5)  # also in the middle of one
    began.send_signal(number)
    out, err = began.communicate(timeout=60)
    url = settings["DATABASE_URL"]
    if number is signal.SIGKILL:
        with start("rehearse", "--clean-up", "--json", directory=tmp_path, **settings) as next_start:
            out, err = next_start.communicate(timeout=60)
        assert next_start.returncode == 0, err
        assert len(check_document(out, "rehearse --clean-up")["removed"]) == 1
    else:
        assert began.returncode == 130, err
        assert json.loads(out)["ok"] is False
        assert "Traceback" not in err
    _nothing_left(url, temporary)
