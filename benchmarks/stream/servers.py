"""Two servers that decode their logs, what their sessions cost, and both ends compared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from app.embedded import EmbeddedPostgres
from benchmarks.servers import Servers, database_of_clients, start

# The time of each row's commit is kept, so that a row's lag can be read from it afterwards.
_SETTINGS = {
    "wal_level": "logical",
    "track_commit_timestamp": "on",
    "max_slot_wal_keep_size": "20GB",
    "max_wal_size": "2GB",
}
_TICKS = os.sysconf("SC_CLK_TCK")
_SUM = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM clients t"


@cache
def logical_servers() -> Servers:
    """The suite's two servers; they stop with the run."""
    return Servers(start(**_SETTINGS), start(**_SETTINGS))


@cache
def clients_at_source(clients: int) -> str:
    """The URL of a database at the source with so many clients."""
    return database_of_clients(logical_servers().source, clients)


def ask(url: str, query: str, *given: Any) -> Any:
    """The one value that a statement gives; None where it gives no rows."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode(), given or None)
        return cursor.fetchone()[0] if cursor.description else None  # type: ignore[index]


def are_equal(*urls: str) -> bool:
    """Whether the clients of all of these databases are the same, every value compared as text."""

    def summed(url: str) -> object:
        with psycopg.connect(url) as connection:
            return connection.execute(_SUM.encode()).fetchone()

    with ThreadPoolExecutor() as threads:
        return len(set(threads.map(summed, urls))) == 1


def session_seconds(server: EmbeddedPostgres, *, without: str) -> float:
    """Processor time of a server's sessions so far, those that have ended too; without those of an application's name.

    Autovacuum has to be off: what its workers took would count as that of sessions that have ended.
    """
    with psycopg.connect(server.url(), autocommit=True) as connection:
        others = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE backend_type <> 'client backend' OR application_name = %s",
            [without],
        ).fetchall()
    first = int((server.socket_directory / "data" / "postmaster.pid").read_text().split()[0])
    left_out = {pid for (pid,) in others}
    _own, ended = _ticks(first)
    return (ended + sum(_ticks(pid)[0] for pid in _children(first) if pid not in left_out)) / _TICKS


def process_seconds(pid: int) -> float:
    """Processor time of a process so far, with that of processes it has waited for."""
    return sum(_ticks(pid)) / _TICKS


def peak_megabytes(pid: int) -> float:
    """Resident memory of a process at most, so far."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _ticks(pid: int) -> tuple[int, int]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    return int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])


def _children(parent: int) -> Iterator[int]:
    for path in Path(f"/proc/{parent}/task").glob("*/children"):
        yield from map(int, path.read_text(encoding="ascii").split())
