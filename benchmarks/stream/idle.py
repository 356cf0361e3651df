"""What a following stream costs while little changes: it is not to grow with the table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.row import Row, at_most
from benchmarks.stream.following import dropped, following
from benchmarks.stream.load import WRITER, ended, writing
from benchmarks.stream.servers import ask, clients_at_source, logical_servers, process_seconds, session_seconds

_MOST_TIMES = 1.2
_RATE = 10  # changes a second


def rows(*, few: int, many: int, seconds: int) -> Iterator[Row]:
    """One table after the other, twice each."""
    figures: dict[str, list[float]] = {}
    names = {clients: f"{clients:,} rows" for clients in (few, many)}
    with _without_autovacuum():
        targets = {clients: _copied(clients) for clients in (few, many)}
        for first in (0, _RATE * seconds):
            for clients, target in targets.items():
                figures.setdefault(names[clients], []).append(_cost(clients, target, seconds, first))
    for clients, target in targets.items():
        dropped(clients_at_source(clients), target)
    what = f"processor time of the change stream, {seconds} s of {_RATE} changes a second, {many:,} rows"
    yield at_most(_MOST_TIMES, what, f"the same in a table of {few:,} rows", figures, names[many], names[few])


def _copied(clients: int) -> str:
    both = logical_servers()
    target = both.empty_target(f"idle_{clients}")
    both.botdata("copy", "--source", clients_at_source(clients), "--tables", "clients", target=target)
    return target


def _cost(clients: int, target: str, seconds: int, first: int) -> float:
    """Processor time of the command, and of its sessions at both servers."""
    source, both = clients_at_source(clients), logical_servers()

    def spent(pid: int) -> float:
        sessions = sum(session_seconds(server, without=WRITER) for server in (both.source, both.target))
        return process_seconds(pid) + sessions

    with (
        following(source, target) as process,
        writing(source, clients, rate=_RATE, seconds=seconds, first=first) as load,
    ):
        before = spent(process.pid)
        load.wait()
        after = spent(process.pid)
        ended(load)
    return after - before


@contextmanager
def _without_autovacuum() -> Iterator[None]:
    both = logical_servers()
    for setting in ("SET autovacuum = off", "RESET autovacuum"):
        for server in (both.source, both.target):
            ask(server.url(), f"ALTER SYSTEM {setting}")
            ask(server.url(), "SELECT pg_reload_conf()")
        if setting.startswith("SET"):
            yield
