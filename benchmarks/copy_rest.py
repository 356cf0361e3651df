"""`botdata copy` over REST against only downloading the same pages, and against the way of the first move.

Each is a process of its own, measured from its start to its end, interpreter and imports included. The page server is a
process of its own too, in which PostgreSQL makes the JSON; its own time is a twentieth of a download.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from time import perf_counter

import psycopg

from app.migration.retry import Limits
from app.models import Base
from app.stores.supabase.grammar import as_text
from benchmarks.page_process import ROOT, page_process
from benchmarks.row import Row, Size, at_least, at_most, by_turns
from benchmarks.servers import servers, source_of

COPY, DOWNLOAD, FIRST = "botdata copy", "download", "first way"
_TABLE = Base.metadata.tables["clients"]


def rows(size: Size) -> Iterator[Row]:
    """Three ways by turns, each that writes into a new database."""
    clients = size.of(100_000, 2_000)
    source = source_of(clients)
    with page_process(source) as server:
        ways = _Ways(server, clients)
        figures = by_turns(size.of(5, 1), {COPY: ways.copy, DOWNLOAD: ways.download})
        what = f"copy over REST, {clients:,} clients ({ways.downloaded / clients / 1000:.1f} kB each)"
        yield at_most(1.8, what, "only downloading the same pages, one stream, discarded", figures, COPY, DOWNLOAD)
        if size.full:
            figures = by_turns(3, {COPY: ways.copy, FIRST: ways.first})
        else:
            figures |= by_turns(1, {FIRST: ways.first})
        against = "the first move's way: offset pages of objects, upserts of 100 rows of `VALUES`"
        row = at_least(4, "the same", against, figures, COPY, FIRST)
        lost = clients - ways.held_by_first
        yield replace(row, measured=f"{row.measured}; the first way lost {lost:,} rows") if lost else row


class _Ways:
    """The three ways, each as a process.

    Attributes:
        downloaded: bytes of all pages.
        held_by_first: rows in the target after the first way.
    """

    def __init__(self, server: Mapping[str, str], clients: int) -> None:
        self._server = server
        self._clients = clients
        self.downloaded = 0
        self.held_by_first = 0

    def copy(self) -> float:
        """Seconds of `botdata copy` into an empty target; SystemExit where a row is missing then."""
        target = servers().empty_target()
        seconds, _ = self._run(target, "app.cli.main", "copy", "--tables", _TABLE.name)
        if (held := _count(target)) != self._clients:
            sys.exit(f"the copy brought {held:,} of {self._clients:,} rows")
        return seconds

    def download(self) -> float:
        """Seconds of downloading."""
        select = as_text(_TABLE.columns.keys())  # in the copier's order: the key's column is the first
        seconds, output = self._run("", "benchmarks.rest_download", _TABLE.name, select, str(Limits().page_rows))
        self.downloaded = int(output)
        return seconds

    def first(self) -> float:
        """Seconds of the first move's way into an empty target."""
        target = servers().empty_target()
        seconds, _ = self._run(target, "benchmarks.first_move", _TABLE.name)
        self.held_by_first = _count(target)
        return seconds

    def _run(self, target: str, module: str, *arguments: str) -> tuple[float, str]:
        command = [sys.executable, "-m", module, *arguments]
        environment = {**os.environ, **self._server, "DATABASE_URL": target}
        began = perf_counter()
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        seconds = perf_counter() - began
        if done.returncode:
            sys.exit(f"{module} ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
        return seconds, done.stdout


def _count(target: str) -> int:
    with psycopg.connect(target) as connection:
        ((held,),) = connection.execute(f"SELECT count(*) FROM {_TABLE.name}").fetchall()
    return int(held)
