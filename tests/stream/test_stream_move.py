"""A move of an application that writes, by the runbook of docs/stream.md and the real commands."""

import asyncio
import signal
import time
from contextlib import closing
from pathlib import Path
from threading import Event, Lock, Thread

import psycopg
import pytest

from tests.cli.command import start
from tests.fixtures.streams import StreamEnds
from tests.migration.engine import execute, row_texts, value
from tests.support.machine import times_as_long

_BY = ("--by", "stream", "--accept-unbounded-wal")
_MOST_STOPPED = 2.0  # seconds; on a machine with nothing else to do
_CLIENT = (
    "INSERT INTO clients (yclients_id, company_id, phone, name) VALUES (%(n)s, 1, %(n)s::text, 'new') RETURNING id"
)


class _Application:
    """Adds clients and changes them, at one store at a time; writes nothing while it is held."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.held, self._stopped = Lock(), Event()
        self.written: dict[int, int] = {}  # id by number
        self.last_at = 0.0
        self.failed: list[str] = []
        self._thread = Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        number = 1_000_000
        while not self._stopped.is_set():
            with self.held:
                try:
                    with psycopg.connect(self.url, autocommit=True) as connection:
                        number += 1
                        ((client,),) = connection.execute(_CLIENT, {"n": number}).fetchall()
                        connection.execute("UPDATE clients SET notes = %s WHERE id = %s", [str(number), client])
                        self.written[number] = client
                        self.last_at = time.monotonic()
                except psycopg.Error as error:
                    self.failed.append(repr(error))
            time.sleep(0.01)


def _botdata(ends: StreamEnds, directory: Path, *words: str) -> float:
    """Seconds that a command takes."""
    began = time.monotonic()
    with start(*words, directory=directory, DATABASE_URL=ends.target, MIGRATION_SOURCE=ends.source) as process:
        output = process.communicate(timeout=100)
    assert process.returncode == 0, output
    return time.monotonic() - began


@pytest.mark.soak
async def test_an_application_moves_and_hardly_stops(salon: StreamEnds, tmp_path: Path) -> None:
    stopped = await asyncio.to_thread(_move, salon, tmp_path)
    assert stopped < _MOST_STOPPED * times_as_long()


def _move(salon: StreamEnds, directory: Path) -> float:
    """Move it; for how long it was stopped, in seconds."""
    execute(salon.source, "SELECT setval('clients_id_seq', 1000)")
    with closing(_Application(salon.source)) as application:
        _botdata(salon, directory, "copy")
        settings = {"DATABASE_URL": salon.target, "MIGRATION_SOURCE": salon.source}
        with start("sync", "--follow", *_BY, directory=directory, **settings) as process:
            while process.poll() is None and not salon.applied():
                time.sleep(0.1)
            _botdata(salon, directory, "verify")
            with application.held:
                began = application.last_at
                process.send_signal(signal.SIGINT)
                output = process.communicate(timeout=100)
                assert process.returncode == 0, output
                assert "all that was committed when this was stopped has come" in output[1]
                at_source, moved = row_texts(salon.source, "clients"), dict(application.written)
                application.url = salon.target
                stopped = time.monotonic() - began
                assert row_texts(salon.target, "clients") == at_source
        time.sleep(0.5)
    assert application.failed == []
    assert len(application.written) > len(moved) > 50
    assert len(set(application.written.values())) == len(application.written)
    assert value(salon.target, "SELECT count(*) FROM clients WHERE yclients_id > 1000000") == len(application.written)
    _botdata(salon, directory, "stream", "drop")
    assert salon.slots() == []
    return stopped
