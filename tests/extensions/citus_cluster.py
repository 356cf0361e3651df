"""Three nodes with Citus, from a PostgreSQL that has it: a coordinator and two workers.

Citus is in none of Debian's packages. CITUS_PROGRAMS may name the `bin` of another PostgreSQL of Debian's layout.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.support.streaming import Node, as_user, guarded_directory

_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_CONFIGURATION = """
shared_preload_libraries = 'citus'
citus.enable_statistics_collection = off
max_prepared_transactions = 100
synchronous_commit = off
"""


def programs() -> Path:
    """The directory of a server with Citus; skips the test where there is none, and fails if REQUIRE_CITUS is set."""
    places = [Path(os.environ["CITUS_PROGRAMS"])] if "CITUS_PROGRAMS" in os.environ else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place.parents[3] / "share/postgresql" / place.parent.name / "extension/citus.control").exists():
            return place
    if os.environ.get("REQUIRE_CITUS"):
        pytest.fail("Citus is not installed, and REQUIRE_CITUS is set")
    pytest.skip("not installed: Citus, in a PostgreSQL of Debian's or of CITUS_PROGRAMS")


@dataclass(frozen=True)
class Citus:
    """A cluster; databases are made on all of its nodes."""

    coordinator: Node
    workers: tuple[Node, Node]
    _names = count(1)

    def create_database(self) -> str:
        """A new one of every node: its name."""
        name = f"salons_{next(self._names)}"
        for node in (self.coordinator, *self.workers):
            node.execute(f"CREATE DATABASE {name}")
            node.execute("CREATE EXTENSION citus", name)
        self.coordinator.execute(f"SELECT citus_set_coordinator_host('127.0.0.1', {self.coordinator.port})", name)
        for worker in self.workers:
            self.coordinator.execute(f"SELECT citus_add_node('127.0.0.1', {worker.port})", name)
        return name

    def distribute(self, database: str, schema: str) -> None:
        """Let Citus keep a schema's tables on a worker, triggers and all."""
        self.coordinator.execute(
            f"SET citus.enable_unsafe_triggers = on; SELECT citus_schema_distribute('{schema}')", database
        )

    def worker_of(self, database: str, table: str) -> tuple[Node, str]:
        """The worker that has a table of a distributed schema, and the table's name there."""
        ((port, shard),) = self.coordinator.execute(
            f"SELECT nodeport, shard_name FROM citus_shards WHERE table_name = '{table}'::regclass", database
        )
        return next(node for node in self.workers if node.port == port), str(shard)


@contextmanager
def run_citus() -> Iterator[Citus]:
    """The three of them, ended with the block."""
    binaries = programs()
    with ExitStack() as clean_up:
        root = clean_up.enter_context(guarded_directory())
        nodes = []
        for name in ("coordinator", "worker1", "worker2"):
            directory = root / name
            directory.mkdir()
            if "user" in as_user():
                account = pwd.getpwnam(as_user()["user"])
                os.chown(directory, account.pw_uid, account.pw_gid)
            node = Node(name, directory, binaries, _ENVIRONMENT)
            command = [binaries / "initdb", "-D", node.data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
            options = ["--locale=C.UTF-8", "-N"]
            subprocess.run(
                [*command, *options], cwd=directory, env=_ENVIRONMENT, check=True, capture_output=True, **as_user()
            )
            with (node.data / "postgresql.conf").open("a") as file:
                file.write(_CONFIGURATION)
            clean_up.callback(node.held_port.close)
            clean_up.callback(node.stop, signal.SIGQUIT)
            node.start()
            nodes.append(node)
        coordinator, *workers = nodes
        yield Citus(coordinator, (workers[0], workers[1]))
