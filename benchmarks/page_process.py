"""The tests' page server in a process of its own, so that neither it nor what is measured takes the other's time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.page_server import PageServer

ROOT = Path(__file__).parents[1]


@contextmanager
def page_process(database_url: str) -> Iterator[dict[str, str]]:
    """A server for a database with the row cap of Supabase, which describes its tables; yields the settings."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.page_process", database_url],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url, key = process.stdout.readline().split()
        yield {"SUPABASE_URL": url, "SUPABASE_KEY": key}
    finally:
        process.stdin.close()
        process.wait(timeout=30)


if __name__ == "__main__":
    with PageServer(sys.argv[1], describes=True) as server:
        print(server.url, server.service_key, flush=True)
        sys.stdin.read()
