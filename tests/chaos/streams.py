"""A change stream whose command, servers and connections are killed under load: no change is lost or applied wrongly.

After each kill the writer rests until the target has all that was committed. Then both ends are compared as text.
"""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

import psycopg
from psycopg.conninfo import make_conninfo

from app.schema import revisions
from tests.chaos.command import Botdata
from tests.chaos.scenario import Chaos, Scenario
from tests.chaos.transcript import PHONES
from tests.support.relay import Relay
from tests.support.streaming import Node, run_cluster

_FULL, _LEAST = 200, 3
_KEYS = 400
_DATABASE = "salon"
_SECONDS = 90.0  # for the target to have what the source had when the writer rested
_WORDS = ("sync", "--follow", "--by", "stream", "--accept-unbounded-wal", "--tables", "clients", "--interval", "0.2")
_LSN = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
_APPLIED = (
    "SELECT coalesce(max(pg_wal_lsn_diff(lsn, '0/0')), -1)::bigint FROM botdata.streams WHERE settled_lsn IS NOT NULL"
)
_ROWS = "SELECT id, c::text FROM clients c"
_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'botdata%' AND datname = "
    "current_database()"
)
_KINDS = ("command", "source", "target", "sessions at the source", "sessions at the target", "connections")


def run(chaos: Chaos) -> None:
    """Kill after kill, of one kind after the other, each at a random moment."""
    outcome, fell = chaos.outcome, Counter[str]()
    with _ends(chaos) as ends, _writing(ends.source.url(_DATABASE), chaos.seed) as writer:
        for number in range(chaos.of(_FULL, _LEAST)):
            kind, chance = _KINDS[number % len(_KINDS)], chaos.chance("streams", number)
            outcome.injected += 1
            fell[kind] += 1
            try:
                ends.follow()
                time.sleep(chance.uniform(0.0, 1.5))
                ends.kill(kind, chance)
                time.sleep(chance.uniform(0.0, 0.5))
                with writer.resting():
                    lost = ends.differences()
            except AssertionError as error:
                outcome.wrong.append(f"{kind}, number {number} of seed {chaos.seed}: {error}")
                continue
            outcome.lost += len(lost)
            outcome.survived += not lost
            outcome.wrong += [f"{kind}, number {number} of seed {chaos.seed}: {one}" for one in lost]
        outcome.wrong += writer.wrong
        outcome.wrong += [] if writer.written > 10 * outcome.injected else ["the writer hardly wrote"]
    print("  streams:", ", ".join(f"{n} {kind}" for kind, n in fell.items()), flush=True)  # noqa: T201


@dataclass
class _Ends:
    """Two servers, each by way of a relay, and the command between them."""

    source: Node
    target: Node
    relays: Sequence[Relay]
    botdata: Botdata
    _process: subprocess.Popen[str] | None = None
    _reader: Thread | None = None
    _said: list[str] = field(default_factory=list)

    def follow(self) -> None:
        """Start the command, where it is not at work."""
        if self._process is None or self._process.poll() is not None:
            self.end(signal.SIGKILL)
            process = self._process = self.botdata.start(*_WORDS, "--max-deletes", "1000000")
            self._reader = Thread(target=lambda: self._said.append(process.communicate()[0]))
            self._reader.start()

    def end(self, number: signal.Signals) -> None:
        """End the command, and look at what it said."""
        if self._process is not None and self._reader is not None:
            self._process.send_signal(number)
            self._reader.join()
            said = self._said.pop()
            self.botdata.transcript.record("botdata sync --by stream", said)
            assert "Traceback (most recent call last)" not in said, said[-3000:]
            self._process = self._reader = None

    def kill(self, kind: str, chance: random.Random) -> None:
        """One fault; the servers answer again when this returns."""
        if kind == "command":
            self.end(signal.SIGKILL)
            self.follow()
        elif kind in {"source", "target"}:
            node = self.source if kind == "source" else self.target
            node.kill()
            node.start()
        elif kind == "connections":
            relay = chance.choice(self.relays)
            relay.cut()
            time.sleep(chance.uniform(0.0, 0.5))
            relay.heal()
        else:
            (self.source if kind == "sessions at the source" else self.target).execute(_SESSIONS, _DATABASE)

    def differences(self) -> list[str]:
        """Rows, in words, that are not the same at both ends once the target has all that the source has.

        Raises:
            AssertionError: it does not come to that.
        """
        ((lsn,),) = self.source.execute(_LSN, _DATABASE)
        deadline = time.monotonic() + _SECONDS
        while True:
            with suppress(psycopg.Error):  # of a target without the tool's schema, before the first start
                if self.target.execute(_APPLIED, _DATABASE)[0][0] >= lsn:
                    break
            assert time.monotonic() < deadline, "the target does not come to where the source is"
            self.follow()  # a command whose end went away before its first round ends by itself
            time.sleep(0.1)
        ours, theirs = (dict(node.execute(_ROWS, _DATABASE)) for node in (self.target, self.source))
        return [
            f"the client {key} is {'missing' if key not in ours else 'extra' if key not in theirs else 'another'}"
            for key in sorted(dict(ours.items() ^ theirs.items()))
        ]


@contextmanager
def _ends(chaos: Chaos) -> Iterator[_Ends]:
    with run_cluster(standbys=0) as first, run_cluster(standbys=0) as second:
        source, target = first.primary, second.primary
        source.execute("ALTER SYSTEM SET wal_level = logical")
        source.stop()
        source.start()
        for node in (source, target):
            node.execute(f"CREATE DATABASE {_DATABASE}")
            revisions.upgrade(node.url(_DATABASE))
        with Relay(("127.0.0.1", source.port)) as to_source, Relay(("127.0.0.1", target.port)) as to_target:
            settings = {
                "DATABASE_URL": to_target.way(target.url(_DATABASE)),
                "MIGRATION_SOURCE": to_source.way(source.url(_DATABASE)),
            }
            botdata = Botdata(chaos.directory, settings, chaos.transcript)
            ends = _Ends(source, target, (to_source, to_target), botdata)
            try:
                yield ends
            finally:
                ends.end(signal.SIGTERM)


class _Writer:
    """Ten changes to a transaction: inserts, updates, deletions, changed keys. It goes on when the server is back."""

    def __init__(self, url: str, seed: int) -> None:
        self._url = make_conninfo(url, connect_timeout=5)
        self._chance = random.Random(seed)
        self._stopped, self._writes = Event(), Lock()
        self.written = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        """Until stopped."""
        while not self._stopped.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True) as connection:
                    while not self._stopped.is_set():
                        with self._writes:
                            connection.execute(self._changes().encode())
                        self.written += 1
                        time.sleep(0.005)
            except psycopg.OperationalError:
                time.sleep(0.05)
            except psycopg.Error as error:
                self.wrong.append(f"the application's own write failed: {type(error).__name__}")
                return

    def stop(self) -> None:
        """Write no more."""
        self._stopped.set()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Nothing is written meanwhile."""
        with self._writes:
            yield

    def _changes(self) -> str:
        return ";".join(self._change() for _ in range(10))

    def _change(self) -> str:
        key, other = self._chance.randrange(_KEYS), self._chance.randrange(_KEYS)
        made: Sequence[Callable[[], str]] = (
            lambda: (
                "INSERT INTO clients (id, yclients_id, company_id, phone, name) VALUES "
                f"({key}, {key}, 1, '{PHONES}{key:04}', 'new') ON CONFLICT DO NOTHING"
            ),
            lambda: f"UPDATE clients SET name = left(name || '{other}', 200) WHERE id = {key}",
            lambda: f"DELETE FROM clients WHERE id = {key}",
            lambda: (
                f"UPDATE clients SET id = {other} WHERE id = {key} AND NOT EXISTS "
                f"(SELECT FROM clients WHERE id = {other})"
            ),
        )
        return self._chance.choice(made)()


@contextmanager
def _writing(url: str, seed: int) -> Iterator[_Writer]:
    writer = _Writer(url, seed)
    thread = Thread(target=writer.run)
    thread.start()
    try:
        yield writer
    finally:
        writer.stop()
        thread.join()


SCENARIO = Scenario(
    "streams",
    "a change stream under load: its command, its source, its target and its connections killed at random moments",
    run,
)
