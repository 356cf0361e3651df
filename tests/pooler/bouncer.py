"""Debian's PgBouncer in front of the tests' PostgreSQL."""

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ExecStatus
from sqlalchemy.engine import make_url

from app.embedded.ports import held_port, number_of

Mode = Literal["transaction", "session", "statement"]

_SETTINGS = "SELECT jsonb_object_agg(name, setting) FROM pg_settings WHERE context <> 'internal'"
_LOCKS = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_STATEMENTS = "SELECT coalesce(jsonb_agg(statement), '[]') FROM pg_prepared_statements"
_TABLES = "SELECT count(*) FROM pg_class WHERE relpersistence = 't'"
_CHANNELS = "SELECT count(*) FROM pg_listening_channels()"


def program() -> str | None:
    """PgBouncer's, where it is installed."""
    path = shutil.which("pgbouncer", path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))
    if path is None and os.environ.get("REQUIRE_DEBIAN_PACKAGES"):
        pytest.fail("pgbouncer is not installed, and REQUIRE_DEBIAN_PACKAGES is set")
    return path


@dataclass(frozen=True)
class Bouncer:
    """A running PgBouncer.

    Attributes:
        size: server connections that it keeps for a database at most.
        directory: of its socket.
    """

    port: int
    size: int
    directory: Path

    def url(self, database_url: str, **parameters: str) -> str:
        """The address of a database behind it, with nothing in it that speaks for a pooler."""
        name = make_url(database_url).database
        given = "&".join(f"{key}={value}" for key, value in parameters.items())
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}" + (f"?{given}" if given else "")

    def socket_url(self, database_url: str) -> str:
        """The same by its socket, as the tests' server is reached."""
        return f"postgresql://postgres@/{make_url(database_url).database}?host={self.directory}&port={self.port}"

    def console(self, command: str) -> None:
        """Carry out a command of its administrator's."""
        with psycopg.connect(f"postgresql://postgres@127.0.0.1:{self.port}/pgbouncer", autocommit=True) as console:
            done = console.pgconn.exec_(command.encode())  # it knows no other protocol than the simple one
            assert command == "SHUTDOWN" or done.status == ExecStatus.COMMAND_OK, done.error_message

    def waiting(self) -> int:
        """Clients that wait for a server process."""
        with psycopg.connect(f"postgresql://postgres@127.0.0.1:{self.port}/pgbouncer", autocommit=True) as console:
            pools = console.pgconn.exec_(b"SHOW POOLS")
        column = [pools.fname(number) for number in range(pools.nfields)].index(b"cl_waiting")
        return sum(int(pools.get_value(row, column) or 0) for row in range(pools.ntuples))

    def sessions(self, database_url: str) -> list[dict[str, Any]]:
        """What each server connection of a database's pool has of a session; makes them all first.

        A pool gives one of its connections to each transaction that is open. Which connections there are is not told:
        the pool makes a new one for any whose client left in the middle of a statement.
        """
        clients = [psycopg.connect(self.url(database_url), prepare_threshold=None) for _ in range(self.size)]
        try:
            found: dict[int, dict[str, Any]] = {}
            for client in clients:
                row = client.execute(
                    f"SELECT pg_backend_pid(), ({_SETTINGS}), ({_LOCKS}), ({_STATEMENTS}), ({_TABLES}), ({_CHANNELS})"
                ).fetchone()
                assert row is not None
                pid, *of_session = row
                names = ("settings", "locks", "prepared", "temporary", "channels")
                found[pid] = dict(zip(names, of_session, strict=True))
            for client in clients:
                client.rollback()
            assert len(found) == self.size
            return sorted(found.values(), key=str)
        finally:
            for client in clients:
                client.close()


@contextmanager
def run_bouncer(
    database_url: str,
    *,
    mode: Mode = "transaction",
    size: int = 4,
    round_robin: bool = False,
    port: int | None = None,
    **settings: int,
) -> Iterator[Bouncer]:
    """PgBouncer in front of the server of a database, for all of its databases; skips the test where there is none.

    Args:
        settings: more of its own.
    """
    path = program()
    if path is None:
        pytest.skip("pgbouncer is not installed (Debian's package of that name)")
    parts = conninfo_to_dict(database_url)
    server = " ".join(f"{key}={parts[key]}" for key in ("host", "port", "user", "password") if parts.get(key))
    more = "".join(f"{name} = {value}\n" for name, value in ({"max_client_conn": 300} | settings).items())
    user = "nobody" if os.geteuid() == 0 else None  # it refuses to run as root; the embedded server's own user
    with held_port() as held, tempfile.TemporaryDirectory(prefix="botdata-pooler-", dir="/tmp") as name:
        port = port or number_of(held)
        directory = Path(name)
        directory.chmod(0o755)
        if user:
            shutil.chown(directory, user)
        (directory / "pgbouncer.ini").write_text(
            f"""[databases]
* = {server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir = {directory}
auth_type = any
admin_users = postgres
pool_mode = {mode}
default_pool_size = {size}
server_round_robin = {int(round_robin)}
{more}"""
        )
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [path, directory / "pgbouncer.ini"],
                cwd=directory,
                user=user,
                group=user and pwd.getpwnam(user).pw_gid,
                extra_groups=user and [],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            _wait_for(port, process, directory / "log")
            yield Bouncer(port, size, directory)
        finally:
            process.terminate()
            process.wait(60)


@asynccontextmanager
async def late_flushes(port: int, kinds: bytearray | None = None) -> AsyncIterator[int]:
    """A relay before a pooler's port, and the port of its own: a client's Flush is passed on 50 ms late.

    That is what a busy machine does. A pooler that has taken its server back by then gives one out again for the Flush.
    The kinds of the client's messages are added to `kinds`.
    """

    async def see(kind: bytes, _: bytes) -> bytes | None:
        if kinds is not None:
            kinds.extend(kind)
        if kind == b"H":
            await asyncio.sleep(0.05)
        return None

    async with _relayed(port, see) as own:
        yield own


@asynccontextmanager
async def failing(port: int, at: bytes, error: bytes) -> AsyncIterator[int]:
    """A relay before a pooler's port, and the port of its own: whatever holds `at` is answered by `error`.

    Args:
        error: messages of a server. Where the last one is no ReadyForQuery, the connection ends after them.
    """

    async def see(_: bytes, body: bytes) -> bytes | None:
        return error if at in body else None

    async with _relayed(port, see) as own:
        yield own


@asynccontextmanager
async def _relayed(port: int, see: Callable[[bytes, bytes], Awaitable[bytes | None]]) -> AsyncIterator[int]:
    """A relay, and its port; a client must not ask for encryption.

    Args:
        see: is given the kind and the body of each message of a client's. What it returns is the answer to it and to
            all that follow, up to the next Sync, of which the pooler hears nothing.
    """

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while taken := await reader.read(65536):
            writer.write(taken)
            await writer.drain()
        writer.close()

    async def pass_messages_on(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to_client: asyncio.StreamWriter
    ) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            kind, answered = b"", False  # the first message has none
            while True:
                length = await reader.readexactly(4)
                body = await reader.readexactly(int.from_bytes(length, "big") - 4)
                if not answered and (answer := await see(kind, body)) is not None:
                    to_client.write(answer)
                    answered = True
                    if answer[-6:-5] != b"Z":
                        break
                if not answered:
                    writer.write(kind + length + body)
                answered = answered and kind not in {b"S", b"Q"}
                kind = await reader.readexactly(1)
        writer.close()
        to_client.close()

    async def relay(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pass_messages_on(client, to_server, to_client), pass_on(server, to_client))

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as listening:
        yield int(listening.sockets[0].getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"PgBouncer did not start:\n{log.read_text()}")
