"""PostgreSQL under the tests: TEST_DATABASE_URL, else a container where Docker answers, else the embedded one.

`TEST_POSTGRES` set to `embedded` or `testcontainers` settles it, and fails where that cannot be had.
"""

import gc
import os
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Literal

import docker
import psycopg
from docker.errors import DockerException
from psycopg import sql
from sqlalchemy.engine import make_url

from app.database_url import libpq_url, shown_url
from app.embedded import EmbeddedPostgres

Kind = Literal["TEST_DATABASE_URL", "testcontainers", "embedded"]

_DEFAULT_IMAGE = "postgres:17-alpine"
_NOT_DURABLE = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"


class PostgresServer:
    """A server on which tests make databases of their own.

    Attributes:
        admin_url: libpq URL of a database from which others can be made.
        embedded: the embedded server, where it is that one.
    """

    def __init__(self, admin_url: str, embedded: EmbeddedPostgres | None = None) -> None:
        self.admin_url = libpq_url(admin_url)
        self.embedded = embedded

    def url(self, database: str) -> str:
        """The libpq URL of a database of this server."""
        return make_url(self.admin_url).set(database=database).render_as_string(hide_password=False)

    def create_database(self, template: str | None = None) -> str:
        """Makes a database of a new name and gives its URL; `template` is the URL of one to clone, without sessions."""
        name = f"botdata_test_{uuid.uuid4().hex[:12]}"
        source = make_url(template).database if template else "template0"
        self._execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(source or ""))
        )
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drops a database made here, with whatever is connected to it."""
        name = make_url(url).database or ""
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(statement)


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
def start_postgres_server() -> Iterator[PostgresServer]:
    """The chosen server, running until the end of the block."""
    match chosen_kind():
        case "TEST_DATABASE_URL":
            yield PostgresServer(os.environ["TEST_DATABASE_URL"])
        case "testcontainers":
            from testcontainers.community.postgres import PostgresContainer

            container = PostgresContainer(
                _image(), username="postgres", password="postgres", dbname="postgres", driver=None
            )
            with container.with_command(f"postgres {_NOT_DURABLE}") as running:
                yield PostgresServer(running.get_connection_url())
        case "embedded":
            with start_embedded() as embedded:
                yield PostgresServer(embedded.url(), embedded)


def start_embedded() -> EmbeddedPostgres:
    """An embedded server with room for the connections of every Supabase that tests start, ten each until their end."""
    return EmbeddedPostgres.start(durable=False, max_connections=300)


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
