"""A primary and its streaming standbys, from the wheel's programs: nodes that can be killed, stopped and promoted.

Every node listens on a port of 127.0.0.1 of its own and keeps it from one start to the next.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import Any

import psycopg
from psycopg import sql

from app.embedded import EmbeddedPostgres
from app.embedded.ports import held_port, number_of
from tests.support.postgres import memory_directory

_USER = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "autovacuum": "off",  # it comes by luck
    "fsync": "off",  # the machine does not crash
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "dynamic_shared_memory_type": "mmap",  # in the data directory: one that is killed leaves nothing elsewhere
    "max_connections": "200",
    "wal_keep_size": "64MB",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "100ms",
}
_START_SECONDS = 60.0
# When its standard input closes, since this process has ended, it ends what is left of the nodes, hung ones, too.
_GUARD = """
read -r _
for file in "$1"/*/data/postmaster.pid; do
    [ -e "$file" ] || continue
    server=$(head -n 1 "$file")
    kill -STOP "$server"
    pkill -KILL -P "$server"
    kill -KILL "$server"
done
rm -rf "$1"
"""


class Node:
    """One server, with a data directory and a port of its own.

    Attributes:
        name: by which synchronous_standby_names knows it.
        port: on 127.0.0.1.
    """

    def __init__(self, name: str, directory: Path, programs: Path, environment: Mapping[str, str]) -> None:
        """Not for callers: see `run_cluster`."""
        self.name = name
        self.held_port = held_port()  # no other is given it while this one is down
        self.port = number_of(self.held_port)
        self.data = directory / "data"
        self._directory = directory
        self._programs = programs
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        """The libpq URL of a database, at this node alone."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {**_SETTINGS, "port": str(self.port), "unix_socket_directories": str(self._directory)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data, *options],
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
                **as_user(),
            )
        self.wait_until("SELECT true")

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Shut it down, whatever is connected. May be called twice, also after `kill` and `hang`."""
        if self._process is not None:
            self.wake()
            self._process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self.kill()

    def kill(self) -> None:
        """End all of its processes at once, as a machine does that loses its power."""
        if self._process is not None:
            self.hang()  # so that it starts no others meanwhile
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
            (self.data / "postmaster.pid").unlink(missing_ok=True)  # the number may be another's soon: see _GUARD

    def hang(self) -> None:
        """Stop all of its processes: connections stay open, and nothing answers any more."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on after `hang`."""
        self._signal(signal.SIGCONT)

    def promote(self) -> None:
        """Make a primary of a standby; it takes writes when this returns."""
        self.execute("SELECT pg_promote(true, 30)")
        self.wait_until("SELECT NOT pg_is_in_recovery()")

    def configure(self, **settings: str) -> None:
        """Change settings that need no restart, such as recovery_min_apply_delay="500ms"; "" is the default."""
        for name, text in settings.items():
            change = sql.SQL("RESET {}") if not text else sql.SQL("SET {} = {}")
            parts = (sql.Identifier(name), sql.Literal(text))
            self.execute(sql.SQL("ALTER SYSTEM ") + change.format(*parts[: 2 if text else 1]))
        self.execute("SELECT pg_reload_conf()")
        for name, text in settings.items():
            if text:
                shown = sql.SQL("SELECT current_setting({0}) = {1} OR setting = {1} FROM pg_settings WHERE name = {0}")
                self.wait_until(shown.format(sql.Literal(name), sql.Literal(text)))

    def execute(self, query: str | sql.Composable, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Carry out a statement on a connection of its own, in autocommit; its rows."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(query)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def wait_for(self, lsn: str, *, seconds: float = _START_SECONDS) -> None:
        """Wait until a standby has replayed so far."""
        self.wait_until(
            sql.SQL("SELECT pg_last_wal_replay_lsn() >= {}::pg_lsn").format(sql.Literal(lsn)), seconds=seconds
        )

    def wait_until(self, query: str | sql.Composable, *, seconds: float = _START_SECONDS) -> None:
        """Wait until a statement gives true."""
        deadline = time.monotonic() + seconds
        while True:
            with suppress(psycopg.Error):
                if self.execute(query)[0][0]:
                    return
            if self._process is not None and self._process.poll() is not None:
                break
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        log = (self._directory / "log").read_text(errors="replace").splitlines()[-15:]
        raise AssertionError("\n".join((f"node {self.name} did not come to: {query!r}; the end of its log:", *log)))

    def _signal(self, number: signal.Signals) -> None:
        # Each of PostgreSQL's processes leads a group of its own.
        if self._process is None or self._process.poll() is not None:
            return
        if number == signal.SIGSTOP:
            self._process.send_signal(number)
        for child in _children(self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(child, number)
        self._process.send_signal(number)


class Cluster:
    """A primary and its standbys.

    Attributes:
        primary: where writes go; changed by `promote`.
        standbys: all the other nodes that follow it.
    """

    def __init__(self, primary: Node, standbys: list[Node], make: Any) -> None:
        """Not for callers: see `run_cluster`."""
        self.primary = primary
        self.standbys = standbys
        self._make = make

    @property
    def nodes(self) -> Sequence[Node]:
        """Every node, whatever became of it."""
        return (self.primary, *self.standbys)

    def url(self, database: str = "postgres", nodes: Sequence[Node] | None = None) -> str:
        """The address of several nodes, as people write it: by default of all, the primary first."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes or self.nodes)
        return f"postgresql://postgres@{hosts}/{database}"

    def promote(self, standby: Node) -> Node:
        """Make a standby the primary; the old one is given back, and is none of the cluster's any more."""
        standby.promote()
        old, self.primary = self.primary, standby
        self.standbys.remove(standby)
        return old

    def add_standby(self, name: str, *, replaces: Node | None = None) -> Node:
        """A new standby of the primary, on the port of a node that it replaces."""
        standby: Node = self._make(name, self.primary, replaces)
        self.standbys.append(standby)
        return standby

    def be_synchronous(self, *names: str) -> None:
        """Have a commit wait for one of these standbys; for none where there is no name."""
        self.primary.configure(synchronous_standby_names=f"ANY 1 ({', '.join(names)})" if names else "")
        if names:
            self.primary.wait_until("SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state = 'quorum'")

    @contextmanager
    def replaying(self) -> Iterator[Callable[[], None]]:
        """Gives what `wait_for_standbys` is, at less cost, for as long as the nodes are what they are."""
        with ExitStack() as stack:
            primary, *standbys = (
                stack.enter_context(closing(psycopg.connect(node.url(), autocommit=True))) for node in self.nodes
            )

            def wait() -> None:
                at = primary.execute("SELECT pg_current_wal_lsn()::text").fetchone()
                deadline = time.monotonic() + _START_SECONDS
                for standby in standbys:
                    while standby.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", at).fetchone() != (True,):
                        assert time.monotonic() < deadline, "a standby does not follow"
                        time.sleep(0.001)

            yield wait

    def wait_for_standbys(self) -> None:
        """Wait until each has replayed what the primary has written by now."""
        ((lsn,),) = self.primary.execute("SELECT pg_current_wal_lsn()::text")
        for standby in self.standbys:
            standby.wait_for(lsn)


@contextmanager
def guarded_directory() -> Iterator[Path]:
    """A directory for nodes, each in one of its own; what is left of them is ended with the block, or this process."""
    with ExitStack() as clean_up:
        root = Path(tempfile.mkdtemp(prefix="botdata-cluster-", dir=memory_directory() or "/tmp"))
        clean_up.callback(rmtree, root, ignore_errors=True)
        root.chmod(0o755)
        guard = [*("/bin/sh", "-c", _GUARD, "guard"), root]
        clean_up.enter_context(subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True))
        yield root


@contextmanager
def run_cluster(standbys: int = 1) -> Iterator[Cluster]:
    """A primary and so many standbys, "standby1" and so on; all of them are ended with the block."""
    with ExitStack() as clean_up:
        root = clean_up.enter_context(guarded_directory())
        with EmbeddedPostgres.start(root / "primary", durable=False) as first:
            programs, environment = first.binary(""), first.environment
        nodes: list[Node] = []

        def make_standby(name: str, primary: Node, replaces: Node | None = None) -> Node:
            directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=root))
            if _USER:
                os.chown(directory, pwd.getpwnam(_USER).pw_uid, pwd.getpwnam(_USER).pw_gid)
            node = Node(name, directory, programs, environment)
            if replaces is not None:
                replaces.kill()
                node.port = replaces.port
            nodes.append(node)
            source = f"host=127.0.0.1 port={primary.port} user=postgres application_name={name}"
            backup = [programs / "pg_basebackup", "-D", node.data, "-d", source, "-R", "-X", "stream", "-c", "fast"]
            subprocess.run([*backup, "--no-sync"], env=environment, check=True, capture_output=True, **as_user())
            node.start()
            return node

        def stop_all() -> None:
            for node in nodes:
                node.stop(signal.SIGQUIT)  # at once, but for the shared memory, which it removes
                node.held_port.close()

        clean_up.callback(stop_all)
        primary = Node("primary", root / "primary", programs, environment)
        nodes.append(primary)
        primary.start()
        yield Cluster(primary, [make_standby(f"standby{n + 1}", primary) for n in range(standbys)], make_standby)


def as_user() -> dict[str, Any]:
    """Options of subprocess by which PostgreSQL runs, which refuses to as root."""
    return {"user": _USER, "group": pwd.getpwnam(_USER).pw_gid, "extra_groups": []} if _USER else {}


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(stat.parent.name))
    return found
