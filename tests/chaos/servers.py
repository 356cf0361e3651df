"""A PostgreSQL behind a relay: stopped, killed and started again, replaced by another one with a copy of its data."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import psycopg

from app.embedded import EmbeddedPostgres
from app.embedded.process import EmbeddedServerError
from tests.chaos.transcript import PASSWORD
from tests.support.relay import Relay

# What was committed is to be there after a crash of the server, not of the machine.
_SETTINGS = {
    "fsync": "off", "full_page_writes": "off", "max_connections": "30", "superuser_reserved_connections": "0",
    "deadlock_timeout": "200ms", "checkpoint_timeout": "1h",
}  # fmt: skip
FAST, IMMEDIATE, KILL = signal.SIGINT, signal.SIGQUIT, signal.SIGKILL
_SECONDS = 60


class Server:
    """A server with the planted password in its addresses; it trusts everyone all the same.

    Attributes:
        relay: what the addresses lead to.
        directory: of the server that runs now.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._postgres = EmbeddedPostgres.start(directory)
        try:
            with psycopg.connect(self.url(), autocommit=True) as connection:
                for name, text in _SETTINGS.items():
                    connection.execute(f"ALTER SYSTEM SET {name} = '{text}'".encode())
            self.stop()
            self.start()
            self.relay = Relay(self._socket)
        except BaseException:
            self._postgres.stop()
            raise

    @property
    def _socket(self) -> str:
        return str(self._postgres.socket_directory / ".s.PGSQL.5432")

    def url(self, database: str = "postgres") -> str:
        """A database's URL past the relay, for looks at it."""
        return self._postgres.url(database)

    def address(self, database: str, user: str = "postgres") -> str:
        """A database's URL by way of the relay, as in DATABASE_URL."""
        return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{self.relay.port}/{database}"

    def stop(self, how: int = FAST) -> None:
        """Stop it: SIGINT fast, SIGQUIT immediate, SIGKILL as by `kill -9`; returns when it has ended."""
        postmaster = int((self.directory / "data" / "postmaster.pid").read_text().split()[0])
        with suppress(ProcessLookupError):
            os.kill(postmaster, how)
        self._postgres.stop()

    def start(self) -> None:
        """Start it where it was."""
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                self._postgres = EmbeddedPostgres.start(self.directory)
                return
            except EmbeddedServerError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def copy_data(self, to: Path) -> None:
        """A stopped server's data in another directory."""
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir(mode=0o700)
        os.chown(to, self.directory.stat().st_uid, self.directory.stat().st_gid)
        _copy(self.directory / "data", to / "data")
        if (programs := self.directory / "programs").exists():  # a copy of the wheel's, not to be made again
            _copy(programs, to / "programs")

    def move_to(self, directory: Path) -> None:
        """Start another server on a copy of the data, and let the relay lead there: a failover."""
        self.directory = directory
        self.start()
        self.relay.server = self._socket

    def close(self) -> None:
        """Stop the server and the relay."""
        self.relay.close()
        self._postgres.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("postmaster.pid"))
    for path in (source, *source.rglob("*")):
        owner = path.lstat()
        copy = target / path.relative_to(source)
        if copy.exists() or copy.is_symlink():
            os.chown(copy, owner.st_uid, owner.st_gid, follow_symlinks=False)
    target.chmod(0o700)
