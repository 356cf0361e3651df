"""A command that gets a signal at a moment of its work, which begins when it is first connected to its target."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from tests.chaos.command import Botdata, Done

_SECONDS = 240  # for any command, on a machine that has much else to do
_POLL = 0.005
_CONNECTED, _WRITTEN = "true", "state = 'idle in transaction' AND backend_xid IS NOT NULL"
Process = subprocess.Popen[str]
STARTING, WORKING, ENDED = "while it started", "at work", "after its end"


@dataclass(frozen=True)
class Lengths:
    """How long a command takes, in seconds: until it is connected to the target, and from then on."""

    start: float
    work: float


@dataclass(frozen=True)
class Moment:
    """When a signal comes: at this part (0..1) of the start or the work, or then once a transaction has written."""

    part: float
    at_work: bool = True
    in_transaction: bool = False
    with_signal: int = signal.SIGKILL


@dataclass(frozen=True)
class Fell:
    """Where a signal fell, and how the command ended."""

    where: str
    done: Done


def measure(botdata: Botdata, target: str, *words: str) -> tuple[Lengths, Done]:
    """Run a command undisturbed."""
    process = botdata.start(*words)
    began = time.monotonic()
    connected = _until_connected(process, target) or began
    out = process.communicate(timeout=_SECONDS)[0]
    return Lengths(connected - began, time.monotonic() - connected), _said(botdata, words, process, out)


def end_at(botdata: Botdata, target: str, moment: Moment, lengths: Lengths, *words: str) -> Fell:
    """Run a command and send it a signal at the moment."""
    return disturbed(botdata, target, moment, lengths, lambda process: process.send_signal(moment.with_signal), *words)


def disturbed(
    botdata: Botdata, target: str, moment: Moment, lengths: Lengths, disturb: Callable[[Process], None], *words: str
) -> Fell:
    """Run a command and do something at the moment.

    Raises:
        AssertionError: it printed a traceback, or did not end.
    """
    process = botdata.start(*words)
    where = STARTING
    try:
        if not moment.at_work:
            _sleep(process, moment.part * lengths.start)
        elif _until_connected(process, target) is not None:
            where = WORKING
            _sleep(process, moment.part * lengths.work)
            if moment.in_transaction:
                _until(_WRITTEN, process, target)
        if process.poll() is not None:
            where = ENDED
        disturb(process)
        out = process.communicate(timeout=_SECONDS)[0]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # at which Python says where it is
        out = process.communicate()[0]
        raise AssertionError(f"botdata {' '.join(words)} did not end in {_SECONDS} s: {out[-3000:]}") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    return Fell(where, _said(botdata, words, process, out))


def _until_connected(process: Process, target: str) -> float | None:
    """When it was connected to the target first; None where it ended before that."""
    return _until(_CONNECTED, process, target)


def _until(condition: str, process: Process, target: str) -> float | None:
    """When one of botdata's sessions at the target was in a condition; None where the process ended before that."""
    query = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() "
        f"AND application_name LIKE 'botdata%' AND {condition})"
    ).encode()
    with psycopg.connect(target, autocommit=True) as watcher:
        deadline = time.monotonic() + _SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if watcher.execute(query).fetchone() == (True,):
                return time.monotonic()
            time.sleep(_POLL)
    return None


def _sleep(process: subprocess.Popen[str], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def _said(botdata: Botdata, words: tuple[str, ...], process: subprocess.Popen[str], out: str) -> Done:
    botdata.transcript.record(f"botdata {' '.join(words)}", out)
    assert "Traceback (most recent call last)" not in out, out
    return Done(process.returncode, out)
