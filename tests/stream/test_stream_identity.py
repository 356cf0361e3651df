"""The source's own application goes on in tables of every kind of replica identity, whatever a stream does there."""

import asyncio
import time
from collections import Counter
from threading import Event, Thread

import psycopg

from app.migration.stream.removal import drop_stream
from tests.fixtures.streams import StreamEnds, opened
from tests.migration.engine import execute, query, row_texts
from tests.stream.projects import named

_NAMES = ("a_default", "b_full", "c_index", "d_nothing", "e_no_key", "f_dropped", "g_default_no_key", "h_full_no_key")
_SCHEMA = ";".join(f"CREATE TABLE {name} (id integer PRIMARY KEY, v text)" for name in _NAMES)
_IDENTITIES = """
ALTER TABLE b_full REPLICA IDENTITY FULL;
CREATE UNIQUE INDEX c_id ON c_index (id); ALTER TABLE c_index REPLICA IDENTITY USING INDEX c_id;
ALTER TABLE d_nothing REPLICA IDENTITY NOTHING;
ALTER TABLE e_no_key DROP CONSTRAINT e_no_key_pkey; ALTER TABLE e_no_key REPLICA IDENTITY NOTHING;
CREATE UNIQUE INDEX f_id ON f_dropped (id); ALTER TABLE f_dropped REPLICA IDENTITY USING INDEX f_id;
ALTER TABLE g_default_no_key DROP CONSTRAINT g_default_no_key_pkey;
ALTER TABLE h_full_no_key DROP CONSTRAINT h_full_no_key_pkey; ALTER TABLE h_full_no_key REPLICA IDENTITY FULL
"""


class _Application:
    """Updates rows in every table, one statement each."""

    def __init__(self, url: str) -> None:
        self._url, self._stopped = url, Event()
        self.written: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._thread = Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()

    async def goes_on(self) -> None:
        """Wait until it has written to each table once more."""
        before = Counter(self.written)
        for _ in range(6000):
            if all(self.written[name] > before[name] for name in _NAMES):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"written {self.written - before}, refused {self.refused}")

    def _run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            number = 0
            while not self._stopped.is_set():
                number += 1
                for name in _NAMES:
                    statement = f"UPDATE {name} SET v = '{number}' WHERE id = {number % 9 + 1}"
                    try:
                        connection.execute(statement.encode())
                    except psycopg.errors.ObjectNotInPrerequisiteState:
                        self.refused[name] += 1
                    else:
                        self.written[name] += 1
                time.sleep(0.01)


async def test_updates_go_on_before_during_and_after(stream_ends: StreamEnds) -> None:
    ends, chosen = stream_ends, named(*_NAMES)
    rows = ";".join(f"INSERT INTO {name} SELECT n, n::text FROM generate_series(1, 9) n" for name in _NAMES)
    ends.make(f"{_SCHEMA}; {_IDENTITIES}", rows, _SCHEMA)
    application = _Application(ends.source)
    try:
        await application.goes_on()
        stream = ends.stream(chosen, most_deleted=1000)
        await stream.begun()
        await application.goes_on()
        published = [name for (name,) in query(ends.source, "SELECT tablename FROM pg_publication_tables ORDER BY 1")]
        assert published == ["a_default", "b_full", "c_index", "f_dropped", "h_full_no_key"]
        assert not application.refused
        # PostgreSQL refuses the updates of a published table whose identity goes, until the next look takes it out.
        execute(ends.source, "DROP INDEX f_id")
        await stream.until(lambda: len(query(ends.source, "SELECT FROM pg_publication_tables")) == 4)
        await application.goes_on()
        seen = Counter(application.refused)
        await stream.caught_up()
        await application.goes_on()
        await stream.end()
        await application.goes_on()
        await drop_stream(lambda: opened(ends), ends.target)
        await application.goes_on()
        assert application.refused == seen
        assert set(seen) <= {"f_dropped"}
    finally:
        application.close()
    await ends.until_now(chosen, most_deleted=1000)
    for name in _NAMES:
        assert row_texts(ends.target, name) == row_texts(ends.source, name), name
