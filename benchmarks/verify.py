"""`botdata verify` from a PostgreSQL with equal rows, against one statement that counts and hashes them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from time import perf_counter

from benchmarks.row import Row, Size, at_most, by_turns
from benchmarks.servers import copy_of, servers, source_of

STATEMENT = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM clients t"
OURS, BY_HAND = "botdata verify", "sums of hashes"


def rows(size: Size) -> Iterator[Row]:
    """Both ways read both sides at the same time."""
    clients = size.of(1_000_000, 2_000)
    source, target = source_of(clients), copy_of(clients).url
    figures = by_turns(size.of(3, 1), {OURS: lambda: _verify(source, target), BY_HAND: lambda: _hash(source, target)})
    what = f"verify from PostgreSQL, {clients:,} equal rows"
    against = "one `SELECT count(*), sum(hashtextextended(t::text, 0))` on both sides"
    yield at_most(1.5, what, against, figures, OURS, BY_HAND)


def _verify(source: str, target: str) -> float:
    return servers().botdata("verify", "--source", source, "--tables", "clients", target=target).seconds


def _hash(source: str, target: str) -> float:
    both = servers()
    environment = both.source.environment
    began = perf_counter()
    processes = [
        subprocess.Popen(
            both.program("psql", "-XqAtc", STATEMENT, url), env=environment, stdout=subprocess.PIPE, text=True
        )
        for url in (source, target)
    ]
    answers = {process.communicate()[0] for process in processes}
    seconds = perf_counter() - began
    if len(answers) != 1 or any(process.returncode for process in processes):
        raise ValueError("the two sides are not equal")
    return seconds
