"""`botdata copy` from a PostgreSQL at its default settings, against PostgreSQL's own ways to move the same table."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from benchmarks.row import Row, Size, at_least, at_most, by_turns
from benchmarks.servers import run, servers, source_of

OURS, PIPE, DUMP = "botdata copy", "COPY pipe", "pg_dump and pg_restore"


def rows(size: Size) -> Iterator[Row]:
    """Copies of one table, by turns, each into a new database."""
    clients = size.of(1_000_000, 2_000)
    source = source_of(clients)
    what = f"copy from PostgreSQL, {clients:,} clients, indexes in place"
    figures = by_turns(size.of(3, 1), {OURS: lambda: _copy(source), PIPE: lambda: _pipe(source)})
    against = "`COPY TO STDOUT | COPY FROM STDIN`, binary, into the same empty table with its indexes"
    yield at_most(1.15, what, against, figures, OURS, PIPE)
    # Once: it takes several times as long, so that no more can be told from more of it.
    figures |= by_turns(1, {DUMP: lambda: _dump_and_restore(source)})
    yield at_least(1, "the same", "`pg_dump -Fc` and `pg_restore -j2` of the same table", figures, OURS, DUMP)


def _copy(source: str) -> float:
    target = servers().empty_target()
    return servers().botdata("copy", "--source", source, "--tables", "clients", target=target).seconds


def _pipe(source: str) -> float:
    both = servers()
    target, environment = both.empty_target(), both.source.environment
    sending = both.program("psql", "-XqAtc", "COPY clients TO STDOUT (FORMAT binary)", source)
    taking = both.program("psql", "-Xqc", "COPY clients FROM STDIN (FORMAT binary)", target)
    began = perf_counter()
    with subprocess.Popen(sending, env=environment, stdout=subprocess.PIPE) as sender:
        subprocess.run(taking, env=environment, stdin=sender.stdout, check=True)
    if sender.returncode:
        raise subprocess.CalledProcessError(sender.returncode, sending)
    return perf_counter() - began


def _dump_and_restore(source: str) -> float:
    both = servers()
    target, environment = both.target.create_database("target", replace=True), both.source.environment
    both.settle()
    with tempfile.TemporaryDirectory() as directory:
        dump = str(Path(directory) / "clients.dump")
        dumped = run(both.program("pg_dump", "-Fc", "-t", "clients", "-f", dump, source), environment)
        restored = run(both.program("pg_restore", "-j2", "-d", target, dump), environment)
    return dumped.seconds + restored.seconds
