"""The first `botdata sync` after a copy over a connection, which knows no row's version yet, against a verification."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.row import Row, Size, at_most, by_turns
from benchmarks.servers import copy_of, servers, source_of

OURS, VERIFY = "first botdata sync", "botdata verify"


def rows(size: Size) -> Iterator[Row]:
    """Each sync is the first on a target of its own; nothing has changed."""
    clients = size.of(1_000_000, 2_000)
    source, copied = source_of(clients), copy_of(clients).url

    def sync() -> float:
        return _run("sync", source, servers().copied_target(copied))

    figures = by_turns(size.of(3, 1), {OURS: sync, VERIFY: lambda: _run("verify", source, copied)})
    what = f"first sync after a copy from PostgreSQL, {clients:,} equal rows"
    yield at_most(3, what, "`botdata verify` of the same rows", figures, OURS, VERIFY)


def _run(command: str, source: str, target: str) -> float:
    return servers().botdata(command, "--source", source, "--tables", "clients", target=target).seconds
