"""Peak resident memory of `botdata copy`, as the kernel reports it of the process: it is not to grow with the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.row import Row, Size
from benchmarks.servers import Ran, copy_of, servers, source_of
from tests.support.page_server import PageServer

MOST_TIMES, MOST_MEGABYTES = 1.1, 150


def rows(size: Size) -> Iterator[Row]:
    """A row for each kind of source."""
    many, few = size.of(1_000_000, 2_000), size.of(100_000, 200)
    yield _row("over a connection", lambda clients: copy_of(clients).ran, many, few)
    yield _row("over REST", _copy_over_rest, many, few)


def _row(how: str, copy: Callable[[int], Ran], many: int, few: int) -> Row:
    peaks = {f"{clients:,} rows": copy(clients).peak for clients in (few, many)}
    small, large = peaks.values()
    return Row(
        f"peak memory of the copy {how}, {many:,} rows",
        f"{few:,} rows",
        f"at most {MOST_TIMES}x, and under {MOST_MEGABYTES} MB",
        f"{large / small:.2f}x ({large:.0f} MB against {small:.0f} MB)",
        large <= MOST_TIMES * small and large < MOST_MEGABYTES,
        {f"{name}, MB": [peak] for name, peak in peaks.items()},
    )


def _copy_over_rest(clients: int) -> Ran:
    with PageServer(source_of(clients)) as server:
        keys = {"SUPABASE_URL": server.url, "SUPABASE_KEY": server.service_key}
        return servers().botdata("copy", "--tables", "clients", target=servers().empty_target(), settings=keys)
