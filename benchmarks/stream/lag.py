"""How long a change takes to the target while many are made, and the memory that this takes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import psycopg

from benchmarks.row import Row
from benchmarks.stream.following import dropped, following, lsn_of, wait_until
from benchmarks.stream.load import WRITER, ended, writing
from benchmarks.stream.servers import (
    are_equal,
    ask,
    clients_at_source,
    logical_servers,
    peak_megabytes,
    process_seconds,
    session_seconds,
)

_MOST_SECONDS, _MOST_MEGABYTES = 2.0, 150
# Both servers have one clock. A row was stamped by the statement that changed it, a moment before its commit.
_LAGS = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - updated_at)::float8 FROM clients WHERE updated_at >= %s
ORDER BY 1
"""


def rows(*, clients: int, seconds: int, rate: int) -> Iterator[Row]:
    """A steady load; then one transaction that changes every client."""
    both = logical_servers()
    source = clients_at_source(clients)
    target = both.empty_target("followed")
    both.botdata("copy", "--source", source, "--tables", "clients", target=target)
    with following(source, target) as process:
        since = ask(source, "SELECT clock_timestamp()")
        begun = peak_megabytes(process.pid)
        before = _spent(process.pid)
        with writing(source, clients, rate=rate, seconds=seconds) as load:
            ended(load)
        wait_until(target, lsn_of(source), process)
        spent = [after - before for after, before in zip(_spent(process.pid), before, strict=True)]
        memory = peak_megabytes(process.pid)
        with psycopg.connect(target) as connection:
            lags = [lag for (lag,) in connection.execute(_LAGS, [since]).fetchall()]
        equal = are_equal(source, target)
        p50, p99 = _quantile(lags, 0.5), _quantile(lags, 0.99)
        yield Row(
            f"lag of the change stream, {rate:,} changes a second for {seconds} s, {clients:,} clients",
            "the moment of each change at the source",
            f"p99 under {_MOST_SECONDS:g} s, under {_MOST_MEGABYTES} MB, equal at the end",
            f"p50 {p50:.2f} s, p99 {p99:.2f} s, at most {lags[-1]:.2f} s; {memory:.0f} MB ({begun:.0f} MB at first); "
            f"{'equal' if equal else 'DIFFERENT'}; {len(lags):,} rows; processor time {spent[0]:.0f} s, "
            f"{spent[1]:.0f} s at the source, {spent[2]:.0f} s at the target; load average {os.getloadavg()[1]:.1f}",
            p99 < _MOST_SECONDS and memory < _MOST_MEGABYTES and equal,
            {"lag p50": [p50], "lag p99": [p99], "lag max": [lags[-1]], "peak, MB": [memory]},
        )
        began = time.monotonic()
        ask(source, "UPDATE clients SET updated_at = clock_timestamp()")
        wait_until(target, lsn_of(source), process)
        took, memory = time.monotonic() - began, peak_megabytes(process.pid)
        equal = are_equal(source, target)
        count = ask(source, "SELECT count(*) FROM clients")
        yield Row(
            f"peak memory of the change stream, one transaction of {count:,} rows",
            "nothing",
            f"under {_MOST_MEGABYTES} MB, equal at the end",
            f"{memory:.0f} MB; {'equal' if equal else 'DIFFERENT'} after {took:.0f} s",
            memory < _MOST_MEGABYTES and equal,
            {"peak, MB": [memory], "seconds": [took]},
        )
    dropped(source, target)


def _spent(pid: int) -> list[float]:
    """Processor time of the command, and of the sessions at both ends without the writer's."""
    both = logical_servers()
    return [process_seconds(pid), *(session_seconds(server, without=WRITER) for server in (both.source, both.target))]


def _quantile(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
