"""A database as an earlier botdata left it: Phase 0.8 with rows, beside the live tables of a WhatsApp login."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

HERE = Path(__file__).parent
TABLES = (
    "appointments_cache", "bookings", "clients", "companies", "dialog_contexts", "messages", "reminders", "services",
    "staff", "staff_schedules", "sync_status", *(f"messages_2026_{month}" for month in (11, 12)),
    *(f"messages_2027_0{month}" for month in (1, 2, 3, 4)),
)  # fmt: skip
BAILEYS = ("whatsapp_auth", "whatsapp_keys")


def fill(url: str) -> None:
    """Make the schema and its rows in an empty database."""
    with psycopg.connect(url) as connection:
        connection.execute((HERE / "phase08.sql").read_text(encoding="utf-8"))
        connection.execute((HERE / "live_baileys.sql").read_text(encoding="utf-8"))


def texts(url: str, *tables: str) -> dict[str, list[str]]:
    """Every row of the tables as text."""
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone = 'UTC'")
        return {
            table: [row for (row,) in connection.execute(f"SELECT t::text FROM {table} t ORDER BY 1")]
            for table in tables
        }


def untouched(url: str) -> list[tuple[str, ...]]:
    """The rows of the session tables as text, with where they lie and who wrote them; not those of `Login`."""
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone = 'UTC'")
        rows = connection.execute(
            "SELECT ctid::text, xmin::text, t::text FROM whatsapp_auth t ORDER BY ctid"
        ).fetchall()
        return (
            rows
            + connection.execute(
                "SELECT ctid::text, xmin::text, t::text FROM whatsapp_keys t WHERE key_type <> 'live' ORDER BY ctid"
            ).fetchall()
        )


class Login:
    """A login that goes on writing its keys; a write that waits 0.3 seconds for a lock fails, and with it the test."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._write)
        self.writes = 0

    def _write(self) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                connection.execute("SET lock_timeout = '300ms'")
                while not self._stop.wait(0.002):
                    connection.execute(
                        "INSERT INTO whatsapp_keys VALUES ('1', 'live', %s, %s) ON CONFLICT (company_id, key_type, "
                        "key_id) DO UPDATE SET value = excluded.value",
                        [str(self.writes % 20), f'{{"n": {self.writes}}}'],
                    )
                    self.writes += 1
        except BaseException as error:  # raised by __exit__
            self._failures.append(error)

    def __enter__(self) -> Self:
        self._thread.start()
        self.wait_for_writes()
        return self

    def wait_for_writes(self) -> None:
        """Until it has written once more."""
        before = self.writes
        while self.writes == before and not self._failures:
            self._stop.wait(0.001)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._failures:
            raise self._failures[0]


@contextmanager
def held(url: str, statement: str) -> Iterator[psycopg.Connection]:
    """A transaction of another program that has run a statement and stays open."""
    with psycopg.connect(url, application_name="another program") as connection:
        connection.execute(statement)
        yield connection
        connection.rollback()
