"""Databases of a made-up salon for the chaos over HTTP: all twelve tables, planted phone numbers, and clones of it."""

from __future__ import annotations

import itertools
import logging
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Self

import psycopg
from psycopg import sql

from app.embedded import EmbeddedPostgres
from app.embedded.salon import fill_salon
from app.migration.tables.metadata import select_tables
from app.models import Base
from app.schema import revisions
from tests.chaos.transcript import KEY, PASSWORD, PHONES, Transcript
from tests.support.page_server import PageServer

TABLES = [table.name for table in select_tables(Base.metadata)]
_SIZES = {"clients": 90, "services": 12, "staff": 5, "schedules": 20, "bookings": 30, "dialog_contexts": 15}
_MORE = f"""
UPDATE clients SET phone = '{PHONES}' || lpad(id::text, 4, '0'), raw_phone = '+7 (900) 555-' || (10 + id % 90) || '-00';
UPDATE dialog_contexts SET user_id = '{PHONES}' || lpad(right(user_id, 4), 4, '0');
INSERT INTO messages (id, company_id, client_phone, direction, content)
    SELECT md5('m' || n)::uuid, 962302, '{PHONES}' || lpad(n::text, 4, '0'), 'in', 'text ' || n
    FROM generate_series(1, 25) n;
INSERT INTO actions (id, company_id, client_phone, action_type, action_data)
    SELECT md5('a' || n)::uuid, 962302, '{PHONES}' || lpad(n::text, 4, '0'), 'book', '{{"n": 1.10}}'
    FROM generate_series(1, 25) n;
INSERT INTO company_sync_status (company_id, clients_synced) SELECT n, n FROM generate_series(1, 8) n;
INSERT INTO whatsapp_keys (company_id, key_type, key_id, value)
    SELECT c, t, n::text, '{{}}' FROM unnest(ARRAY['1', '2']) c, unnest(ARRAY['a', 'b']) t, generate_series(1, 7) n;
""".encode()
# Both sides are read in sessions with these settings, so that equal values have equal texts.
_AS_TEXT = b"SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET extra_float_digits = 1"


@dataclass
class Ended:
    """What an episode came to: faults that were put in, rows lost without a word, and what was wrong in words."""

    injected: int = 0
    lost: int = 0
    wrong: list[str] = field(default_factory=list)


class World:
    """A server with the salon (`salon`) and an empty target (`empty`), to be cloned; a context manager."""

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript
        self._numbers = itertools.count(1)
        self._clean_up = ExitStack()
        self._postgres = self._clean_up.enter_context(EmbeddedPostgres.start(durable=False))
        self._postgres.create_database("empty")
        revisions.upgrade(self._postgres.url("empty"))
        self._create("salon", "empty")
        fill_salon(self._postgres.url("salon"), **_SIZES, baileys_keys=30, hard_values=True)
        execute(self._postgres.url("salon"), _MORE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._clean_up.close()

    @contextmanager
    def database(self, template: str) -> Iterator[str]:
        """The URL of a clone, with a password that the server does not ask for; dropped at the end."""
        name = f"{template}_{next(self._numbers)}"
        self._create(name, template)
        try:
            yield self._postgres.url(name).replace("postgres@", f"postgres:{PASSWORD}@", 1)
        finally:
            with psycopg.connect(self._postgres.url(), autocommit=True) as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _create(self, name: str, template: str) -> None:
        with psycopg.connect(self._postgres.url(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )

    def told(self, error: BaseException) -> None:
        """Keep an exception in the transcript, with all that led to it."""
        self.transcript.record(type(error).__name__, "".join(traceback.format_exception(error)))


@contextmanager
def pages_of(database: str, max_rows: int) -> Iterator[PageServer]:
    """A page server that takes the planted key."""
    with PageServer(database, max_rows=max_rows) as server:
        server.roles[KEY] = None
        server.service_key = KEY
        yield server


def execute(url: str, statements: bytes) -> None:
    """Run statements in one transaction."""
    with psycopg.connect(url) as connection:
        connection.execute(statements)


def rows_of(url: str) -> dict[str, list[str]]:
    """Every row of every table, as text."""
    with psycopg.connect(url) as connection:
        connection.execute(_AS_TEXT)
        return {
            table: [
                row[0]
                for row in connection.execute(
                    sql.SQL('SELECT t::text COLLATE "C" FROM {} t ORDER BY 1').format(sql.Identifier(table))
                )
            ]
            for table in TABLES
        }


def differing(one: str, other: str) -> list[str]:
    """Rows that only one of two databases has, with the table; for people to find the fault, so without the values."""
    theirs, ours = rows_of(one), rows_of(other)
    return [
        f"{table} {row.partition(',')[0]}) {side}"
        for table in TABLES
        for side, some, others in (("not here", theirs, ours), ("only here", ours, theirs))
        for row in sorted(set(some[table]) - set(others[table]))
    ]


class Recorder(logging.Handler):
    """All that is logged goes to the transcript."""

    def __init__(self, transcript: Transcript) -> None:
        super().__init__(logging.DEBUG)
        self._transcript = transcript

    def emit(self, record: logging.LogRecord) -> None:
        """Look through a line, with its exception."""
        self._transcript.record(f"log of {record.name}", self.format(record))


@contextmanager
def recorded(transcript: Transcript, level: int) -> Iterator[None]:
    """Log from this level on, into the transcript, until the end of the block."""
    root, recorder = logging.getLogger(), Recorder(transcript)
    before = root.level
    root.addHandler(recorder)
    root.setLevel(level)
    try:
        yield
    finally:
        root.removeHandler(recorder)
        root.setLevel(before)
