"""A Supabase-compatible REST server on a database of the embedded PostgreSQL, for the demo and the tests.

It is the npm package `@supabase/lite`, run by the Node of a wheel.
"""

import http.client
import json
import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psycopg

from app.embedded.node import install_packages, node
from app.embedded.ports import held_port, number_of
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.process import ServerProcess, system_errors
from app.embedded.supabase_roles import prepare_supabase_roles

_START_SECONDS = 60.0
_QUIET = {"LITE_TELEMETRY": "0", "DO_NOT_TRACK": "1", "NO_COLOR": "1"}

_CONFIGURATION = """\
[api]
port = {port}
max_rows = {max_rows}

[db]
driver = "postgres"
url = "postgresql:///"

[auth]
enabled = false
publishable_key = {publishable_key}
secret_key = {secret_key}
"""


class SupabaseLite:
    """A running server; the `supabase` client works against `url` with `service_key` or `publishable_key`."""

    def __init__(
        self,
        url: str,
        service_key: str,
        publishable_key: str,
        launch: Callable[[], ServerProcess],
        port: socket.socket,
    ) -> None:
        """Not for callers: see `start`."""
        self.url = url
        self.service_key = service_key
        self.publishable_key = publishable_key
        self._port = port
        self._launch = launch
        self._process = launch()

    @classmethod
    def install(cls) -> Path:
        """Installs the npm packages under `sys.prefix`, unless they are there; the directory that holds them.

        Raises:
            EmbeddedServerError: Node's wheel is missing, the directory cannot be written, or npm fails.
        """
        return install_packages()

    @classmethod
    def start(
        cls,
        postgres: EmbeddedPostgres,
        database: str,
        directory: Path,
        *,
        max_rows: int = 1000,
        service_key: str | None = None,
        publishable_key: str | None = None,
    ) -> Self:
        """Starts a server on 127.0.0.1 and a free port, on an existing database, and gives that its roles.

        Args:
            postgres: the server of the database.
            database: its name.
            directory: for the configuration and the log, made if missing.
            max_rows: the most rows in one answer, as in Supabase's API settings.
            service_key: such as `sb_secret_...`; a new one by default.
            publishable_key: such as `sb_publishable_...`; a new one by default.

        Raises:
            EmbeddedServerError: it cannot be installed or does not start.
        """
        directory = directory.absolute()
        packages = cls.install()
        prepare_supabase_roles(postgres.url(database))
        service_key = service_key or f"sb_secret_{secrets.token_urlsafe(24)}"
        publishable_key = publishable_key or f"sb_publishable_{secrets.token_urlsafe(24)}"
        held = held_port()
        port = number_of(held)
        with system_errors("The Supabase-compatible server cannot be started"):
            configuration = directory / "supabase" / "config.toml"
            configuration.parent.mkdir(parents=True, exist_ok=True)
            configuration.write_text(
                _CONFIGURATION.format(
                    port=port,
                    max_rows=max_rows,
                    publishable_key=json.dumps(publishable_key),
                    secret_key=json.dumps(service_key),
                )
            )
        environment = {
            **_QUIET,
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(directory),  # with any settings of the caller's out of sight
            "PGHOST": str(postgres.socket_directory),
            "PGUSER": "postgres",
            "PGDATABASE": database,  # not in the configured URL, whose escapes the server leaves as they are
        }

        def launch() -> ServerProcess:
            process = ServerProcess(
                [node(), packages / "node_modules/@supabase/lite/dist/cli/index.js", "start", "--no-admin"],
                name="The Supabase-compatible server",
                log=directory / "supabase-lite.log",
                directory=directory,
                environment=environment,
            )
            try:
                process.wait_until(lambda: _answers(port, service_key), seconds=_START_SECONDS)
                # The first request for rows makes it grant rights, which fails where several come at once.
                if table := _protected_table(postgres.url(database)):
                    _answers(port, service_key, f"{quote(table, safe='')}?limit=1")
            except BaseException:
                process.stop()
                raise
            return process

        try:
            return cls(f"http://127.0.0.1:{port}", service_key, publishable_key, launch, held)
        except BaseException:
            held.close()
            raise

    def reload_schema(self) -> None:
        """Makes tables and columns known that were made after the start: the server reads the catalog only then."""
        self._process.stop()
        self._process = self._launch()

    def stop(self) -> None:
        """Stops the server. May be called twice."""
        self._process.stop()
        self._port.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def _protected_table(database_url: str) -> str | None:
    """A table of schema public with row-level security, where there is one."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT relname FROM pg_class WHERE relrowsecurity AND relnamespace = 'public'::regnamespace LIMIT 1"
        ).fetchone()
    return str(row[0]) if row else None


def _answers(port: int, key: str, path: str = "") -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", f"/rest/v1/{path}", headers={"apikey": key, "Authorization": f"Bearer {key}"})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
