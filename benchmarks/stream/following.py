"""`botdata sync --follow --by stream` in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

from benchmarks.servers import run
from benchmarks.stream.servers import ask

_WORDS = ("sync", "--by", "stream", "--tables", "clients", "--max-deletes", "1000000000", "--source")
_APPLIED = (
    "SELECT coalesce(max(pg_wal_lsn_diff(lsn, '0/0')), 0)::bigint FROM botdata.streams WHERE settled_lsn IS NOT NULL"
)
_LSN = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"


@contextmanager
def following(source: str, target: str) -> Iterator[subprocess.Popen[bytes]]:
    """A following stream that has no gap before it, until the block ends."""
    with TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli.main", *_WORDS, source, "--follow"],
            env=_environment(target),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        try:
            wait_until(target, lsn_of(source), process)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait()
            if code:
                said.seek(0)
                sys.exit(f"sync ended with exit code {code}:\n{said.read().decode()[-5000:]}")


def begun(source: str, target: str) -> None:
    """Have the stream begun, and bring all up to now."""
    until_now(source, target)


def until_now(source: str, target: str) -> float:
    """Seconds that `sync --until-lsn now` takes."""
    command = [sys.executable, "-m", "app.cli.main", *_WORDS, source, "--until-lsn", "now"]
    return run(command, _environment(target)).seconds


def dropped(source: str, target: str) -> None:
    """Leave nothing of the stream at the source."""
    run([sys.executable, "-m", "app.cli.main", "stream", "drop", "--source", source], _environment(target))


def lsn_of(source: str) -> int:
    """Where the source's log ends."""
    return int(ask(source, _LSN))


def wait_until(target: str, lsn: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the target has all that was before an LSN.

    Raises:
        RuntimeError: the command has ended.
    """
    while ask(target, "SELECT to_regclass('botdata.streams')::text") is None or ask(target, _APPLIED) < lsn:
        if process.poll() is not None:
            raise RuntimeError("the following sync has ended")
        time.sleep(0.1)


def _environment(target: str) -> dict[str, str]:
    return {**os.environ, "DATABASE_URL": target}
