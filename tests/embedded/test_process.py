"""Child processes: what they inherit, and how they end."""

import os
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.embedded.process import EmbeddedServerError, ServerProcess

# A lock on file descriptor 3, left to the server alone; says whether it is held while the server runs, and after.
LOCK_PROGRAM = """
import fcntl, os, sys
from pathlib import Path
from app.embedded.process import ServerProcess

path = Path(sys.argv[1]) / "lock"

def is_free():
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True

lock = os.open(path, os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
if lock != 3:
    os.dup2(lock, 3)
    os.close(lock)
server = ServerProcess(
    ["/bin/sh", "-c", "echo ready; exec sleep 60"], name="sleep", log=path.with_name("log"),
    directory=path.parent, environment=os.environ, inherited_files=[3],
)
os.close(3)
server.wait_until(lambda: "ready" in server.log.read_text(), seconds=20)
print(is_free())
server.stop()
print(is_free())
"""


def run(script: str, directory: Path) -> ServerProcess:
    return ServerProcess(
        ["/bin/sh", "-c", script],
        name="The server",
        log=directory / "log",
        directory=directory,
        environment={"PATH": "/usr/bin:/bin"},
        stop_signal=signal.SIGTERM,
    )


def test_a_lock_is_held_until_the_server_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOCK_PROGRAM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "True"]


def test_a_server_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"  # its end comes when nobody is left who could write
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    script = f"exec 3>{shlex.quote(str(pipe))}; trap '' TERM; while :; do echo still here; sleep 0.05; done"
    process = run(script, tmp_path)
    process.wait_until(lambda: "still here" in process.log.read_text(), seconds=20)
    process.stop(seconds=0.2)
    assert select.select([reading], [], [], 20)[0]
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_a_server_that_is_never_ready_is_an_error_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = run("echo its last words; exec sleep 60", tmp_path)

    now = [0.0]

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        now[0] += 3600 * ("its last words" in process.log.read_text())

    monkeypatch.setattr("app.embedded.process.time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    try:
        with pytest.raises(EmbeddedServerError, match=r"(?s)The server did not answer in 600 s.*its last words"):
            process.wait_until(lambda: False, seconds=600)
    finally:
        process.stop()


def test_only_the_words_of_this_start_are_told(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("words of an earlier start\n")
    process = run("echo no such file; exit 1", tmp_path)
    with pytest.raises(EmbeddedServerError) as raised:
        process.wait_until(lambda: False, seconds=20)
    process.stop()
    assert "no such file" in str(raised.value)
    assert "earlier" not in str(raised.value)
