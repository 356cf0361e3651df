"""Two PostgreSQL servers and made-up clients of production shape; made once in a run, and shared by its suites."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import rmtree
from time import perf_counter
from types import MappingProxyType

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from app.embedded import EmbeddedPostgres
from app.embedded.salon import fill_salon
from app.models import Client
from app.schema import revisions

_HEAD = "head"  # the database that others are made from
_MADE_ONE_BY_ONE = 10_000
# Every block of rows is the first one with numbers and phones of its own.
_ONE_MORE_BLOCK = """
INSERT INTO clients (yclients_id, phone, raw_phone, {columns})
SELECT yclients_id + %(step)s, (phone::bigint + %(step)s)::text, raw_phone, {columns}
FROM clients WHERE id <= %(block)s ORDER BY id LIMIT %(rows)s
"""


@dataclass(frozen=True)
class Ran:
    """What a command took.

    Attributes:
        peak: its resident memory at most, in MB.
    """

    seconds: float
    peak: float


@dataclass(frozen=True)
class Copied:
    """A database that botdata has filled, and what that took."""

    url: str
    ran: Ran


@dataclass(frozen=True)
class Servers:
    """A source and a target, each a server of its own: no durability, since disks differ more than programs do."""

    source: EmbeddedPostgres
    target: EmbeddedPostgres

    def empty_target(self, name: str = "target") -> str:
        """The URL of a new database at head; one of the name before is dropped."""
        url = _database_at_head(self.target, name)
        self.settle()
        return url

    def copied_target(self, url: str, name: str = "target") -> str:
        """The URL of a new database that is the same as another of the target's."""
        made = _database_from(self.target, name, conninfo_to_dict(url)["dbname"])
        self.settle()
        return made

    def settle(self) -> None:
        """Write out what waits in both servers' buffers, so that what is measured next does not pay for it."""
        for server in (self.source, self.target):
            with psycopg.connect(server.url(), autocommit=True) as connection:
                connection.execute("CHECKPOINT")

    def botdata(self, *command: str, target: str, settings: Mapping[str, str] = MappingProxyType({})) -> Ran:
        """Run a botdata command on a target. SystemExit where it fails."""
        environment = {**os.environ, **settings, "DATABASE_URL": target}
        return run([sys.executable, "-m", "app.cli.main", *command], environment)

    def program(self, name: str, *arguments: str) -> list[str]:
        """A command line of one of PostgreSQL's own programs, to be run in `source.environment`."""
        return [str(self.source.binary(name)), *arguments]


def run(command: Sequence[str], environment: dict[str, str]) -> Ran:
    """Run a command in a process of its own. SystemExit where it fails."""
    began = perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{output}")
    return Ran(perf_counter() - began, usage.ru_maxrss / 1024)


@cache
def servers() -> Servers:
    """The run's two servers; they stop with it."""
    return Servers(start(), start())


def start(**settings: str) -> EmbeddedPostgres:
    """A server with a database at head; it stops with the run."""
    directory = Path(tempfile.mkdtemp(prefix="botdata-"))
    atexit.register(rmtree, directory, ignore_errors=True)
    server = EmbeddedPostgres.start(directory, durable=False)
    if settings:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            for name, text in settings.items():
                change = sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(text))
                connection.execute(change)
        server.stop()
        server = EmbeddedPostgres.start(directory, durable=False)
    atexit.register(server.stop)
    revisions.upgrade(server.create_database(_HEAD))
    return server


def _database_at_head(server: EmbeddedPostgres, name: str) -> str:
    return _database_from(server, name, _HEAD)


def _database_from(server: EmbeddedPostgres, name: str, template: object) -> str:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(str(template))))
    return server.url(name)


@cache
def source_of(clients: int) -> str:
    """The URL of a database at the source with so many clients of 1.6 kB each, and its other tables empty."""
    return database_of_clients(servers().source, clients)


def database_of_clients(server: EmbeddedPostgres, clients: int) -> str:
    """The same, on any server that `start` has started."""
    url = _database_at_head(server, f"clients_{clients}")
    block = min(clients, _MADE_ONE_BY_ONE)
    fill_salon(url, clients=block, services=0, staff=0, schedules=0, bookings=0, dialog_contexts=0, baileys_keys=0)
    own = {"id", "yclients_id", "phone", "raw_phone"}
    columns = sql.SQL(", ").join(sql.Identifier(c.name) for c in Client.__table__.columns if c.name not in own)
    more = sql.SQL(_ONE_MORE_BLOCK).format(columns=columns)
    with psycopg.connect(url, autocommit=True) as connection:
        for made in range(block, clients, block):
            connection.execute(more, {"step": made, "block": block, "rows": min(block, clients - made)})
        connection.execute("VACUUM (ANALYZE, FREEZE)")
    return url


@cache
def copy_of(clients: int) -> Copied:
    """A database of the target with a copy of so many clients, made by botdata over a connection."""
    url = servers().empty_target(f"copy_of_{clients}")
    return Copied(url, servers().botdata("copy", "--source", source_of(clients), "--tables", "clients", target=url))
