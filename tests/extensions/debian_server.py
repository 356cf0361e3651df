"""A PostgreSQL of Debian's packages, which have the extensions that the tests' own server lacks."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from app.embedded.process import ServerProcess
from tests.support.postgres import PostgresServer

_PACKAGES = "Debian's packages postgresql and postgresql-postgis"
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_SETTINGS = ("listen_addresses=", "fsync=off", "synchronous_commit=off", "full_page_writes=off")


def programs() -> Path:
    """The newest server's directory, with PostGIS; skips the test where there is none."""
    for found in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True):
        version = found.parts[-3]
        if Path(f"/usr/share/postgresql/{version}/extension/postgis.control").exists():
            return found.parent
    if os.environ.get("REQUIRE_DEBIAN_PACKAGES"):
        pytest.fail(f"{_PACKAGES} are not installed, and REQUIRE_DEBIAN_PACKAGES is set")
    pytest.skip(f"not installed: {_PACKAGES}")


@contextmanager
def debian_server() -> Iterator[PostgresServer]:
    """The server, on a Unix socket of its own."""
    binaries = programs()
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL does not run as root
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and shutil.disk_usage(memory).free > 1 << 30 else None
    with tempfile.TemporaryDirectory(prefix="botdata-debian-", dir=place) as name:
        directory = Path(name)
        if user:
            account = pwd.getpwnam(user)
            os.chown(directory, account.pw_uid, account.pw_gid)
        data = directory / "data"
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"],
            cwd=directory,
            env=_ENVIRONMENT,
            user=user,
            group=user and pwd.getpwnam(user).pw_gid,
            extra_groups=user and [],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
        url = f"postgresql://postgres@/postgres?host={str(directory).replace('/', '%2F')}&port=5432"
        process = ServerProcess(
            [
                *(binaries / "postgres", "-D", data, "-p", "5432", "-c", f"unix_socket_directories={directory}"),
                *(word for setting in _SETTINGS for word in ("-c", setting)),
            ],
            name="Debian's PostgreSQL",
            log=directory / "log",
            directory=directory,
            environment=_ENVIRONMENT,
            stop_signal=signal.SIGINT,
            user=user,
        )
        try:
            process.wait_until(lambda: _answers(url), seconds=60)
            with closing(PostgresServer(url)) as server:
                yield server
        finally:
            process.stop()


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True
