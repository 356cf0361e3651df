"""PostgreSQL under the tests: TEST_DATABASE_URL, else a container where Docker answers, else the embedded one.

`TEST_POSTGRES` set to `embedded` or `testcontainers` settles it, and fails where that cannot be had.
"""

from __future__ import annotations

import gc
import os
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal

import docker
import psycopg
from docker.errors import DockerException
from psycopg import sql
from sqlalchemy.engine import make_url

from app.embedded import EmbeddedPostgres
from app.stores.postgres.database_url import libpq_url, shown_url

Kind = Literal["TEST_DATABASE_URL", "testcontainers", "embedded"]
Prepare = Callable[[str], object]  # makes the schema, and rows, in the empty database of the given URL

_DEFAULT_IMAGE = "postgres:17-alpine"
_NOT_DURABLE = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"
_MEMORY = Path("/dev/shm")  # a file system in memory: a database is made in it in a tenth of the time
_ROOM = 3 << 30  # bytes that must be free there
_CONNECTIONS = 800  # of every worker's pools and Supabases, ten for each of these until its end


class PostgresServer:
    """A server on which tests make databases of their own.

    Attributes:
        admin_url: libpq URL of a database from which others can be made.
        embedded: the embedded server, where it is that one.
    """

    def __init__(self, admin_url: str, embedded: EmbeddedPostgres | None = None, run: str | None = None) -> None:
        self.admin_url = libpq_url(admin_url)
        self.embedded = embedded
        self._run = run or uuid.uuid4().hex[:12]  # templates are of one run: the next may have another schema
        self._made: set[str] = set()  # templates, by whatever process
        self._session: psycopg.Connection | None = None

    @classmethod
    def of(cls, handed: dict[str, Any]) -> PostgresServer:
        """The server that another process has started and `handed` over; it is that process which stops it."""
        embedded = handed["embedded"] and EmbeddedPostgres(*map(Path, handed["embedded"]))
        return cls(handed["admin_url"], embedded, handed["run"])

    @property
    def handed(self) -> dict[str, Any]:
        """What another process needs to know of it, as plain values."""
        embedded = self.embedded
        places = embedded and [str(embedded.binary("")), str(embedded.socket_directory)]
        return {"admin_url": self.admin_url, "embedded": places, "run": self._run}

    def url(self, database: str) -> str:
        """The libpq URL of a database of this server."""
        return make_url(self.admin_url).set(database=database).render_as_string(hide_password=False)

    def create_database(self, template: str | None = None) -> str:
        """Makes a database of a new name and gives its URL; `template` is the URL of one to clone, without sessions."""
        name = f"botdata_test_{uuid.uuid4().hex[:12]}"
        self._create(name, template)
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drops a database made here, with whatever is connected to it."""
        name = make_url(url).database or ""
        self._administer().execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def template(self, name: str, prepare: Prepare, *, template: str | None = None) -> str:
        """The URL of a database to be cloned and not connected to; the first process that asks for it makes it."""
        name = f"botdata_test_{self._run}_{name}"
        if name in self._made:
            return self.url(name)
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(hashtext(%s))", [name])
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                unfinished = f"{name}_unfinished"
                self.drop_database(self.url(unfinished))
                self._create(unfinished, template)
                prepare(self.url(unfinished))
                rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
                connection.execute(rename.format(sql.Identifier(unfinished), sql.Identifier(name)))
        self._made.add(name)
        return self.url(name)

    def drop_templates(self) -> None:
        """Drops what `template` has made."""
        made = self._administer().execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [f"botdata_test_{self._run}_"]
        )
        for (name,) in made.fetchall():
            self.drop_database(self.url(name))

    def close(self) -> None:
        """End the session in which databases are made and dropped; the next one begins another."""
        if self._session is not None:
            self._session.close()

    def _administer(self) -> psycopg.Connection:
        """A session that is kept: each test makes a database or two, and a session takes as long as that."""
        if self._session is None or self._session.closed:
            self._session = psycopg.connect(self.admin_url, autocommit=True)
        return self._session

    def _create(self, name: str, template: str | None) -> None:
        source = make_url(template).database if template else "template0"
        session = self._administer()
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}{}")
        session.execute(statement.format(sql.Identifier(name), sql.Identifier(source or ""), copying_files(session)))


def copying_files(connection: psycopg.Connection) -> sql.SQL:
    """For CREATE DATABASE: by copying files, which writes nothing to the log; before PostgreSQL 15 the only way."""
    return sql.SQL(" STRATEGY file_copy" if connection.info.server_version >= 150000 else "")


@cache
def chosen_kind() -> Kind:
    """Which server the tests use, by the environment."""
    if os.environ.get("TEST_DATABASE_URL"):
        return "TEST_DATABASE_URL"
    match os.environ.get("TEST_POSTGRES"):
        case "embedded":
            return "embedded"
        case "testcontainers":
            return "testcontainers"
        case None | "":
            return "testcontainers" if _docker_answers() else "embedded"
        case other:
            raise RuntimeError(f"TEST_POSTGRES is {other!r}; it can be embedded or testcontainers")


def describe() -> str:
    """The choice in words, for the report's header."""
    match chosen_kind():
        case "TEST_DATABASE_URL":
            return f"TEST_DATABASE_URL ({shown_url(os.environ['TEST_DATABASE_URL'])})"
        case "testcontainers":
            return f"testcontainers ({_image()})"
        case "embedded":
            return "embedded"


@contextmanager
def amid_a_copy(url: str) -> Iterator[int]:
    """The process of a session whose client stands still amid a COPY, as long as the context lasts."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE arriving (value text)")
        with connection.cursor().copy("COPY arriving FROM STDIN"):
            yield connection.info.backend_pid


@contextmanager
def start_postgres_server() -> Iterator[PostgresServer]:
    """The chosen server, running until the end of the block."""
    match chosen_kind():
        case "TEST_DATABASE_URL":
            with closing(PostgresServer(os.environ["TEST_DATABASE_URL"])) as server:
                yield server
                server.drop_templates()
        case "testcontainers":
            from testcontainers.community.postgres import PostgresContainer

            container = PostgresContainer(
                _image(), username="postgres", password="postgres", dbname="postgres", driver=None
            )
            command = f"postgres {_NOT_DURABLE} -c autovacuum=off -c max_connections={_CONNECTIONS}"
            in_memory = container.with_kwargs(shm_size=str(_ROOM)).with_env("PGDATA", f"{_MEMORY}/data")
            with (
                in_memory.with_command(command) as running,
                closing(PostgresServer(running.get_connection_url())) as server,
            ):
                yield server
        case "embedded":
            with start_embedded() as server:
                yield server


@contextmanager
def start_embedded() -> Iterator[PostgresServer]:
    """An embedded server with room for the connections of every Supabase that tests start."""
    with (
        EmbeddedPostgres.start(durable=False, max_connections=_CONNECTIONS) as embedded,
        closing(PostgresServer(embedded.url(), embedded)) as server,
    ):
        with psycopg.connect(server.admin_url, autocommit=True) as connection:
            # A worker of it comes by luck: it is a session, holds locks and changes plans.
            connection.execute("ALTER SYSTEM SET autovacuum = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server


def memory_directory() -> Path | None:
    """Where temporary files are kept in memory; None where there is no such place, or too little room in it."""
    fits = os.access(_MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM
    return _MEMORY if fits else None


def _image() -> str:
    return os.environ.get("TEST_POSTGRES_IMAGE") or _DEFAULT_IMAGE


def _docker_answers() -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # docker leaves a socket open when nothing answers
        with suppress(DockerException):
            docker.from_env(timeout=5).close()
            return True
        gc.collect()
    return False
