"""Peak memory and time of `botdata copy` and `botdata verify` over REST, for growing numbers of clients.

    python benchmarks/copy_memory.py 10000 100000

Each command runs in a process of its own, whose peak resident memory the kernel reports when it ends. The page server
of the tests answers as PostgREST does, from this process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from time import perf_counter

from app import revisions
from app.embedded import EmbeddedPostgres
from app.embedded.salon import fill_salon
from tests.support.page_server import PageServer


def measure(command: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a command; returns its seconds and its peak resident memory in MB. SystemExit when it fails."""
    began = perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{output}")
    return perf_counter() - began, usage.ru_maxrss / 1024


def main(sizes: Sequence[int]) -> None:
    print("| clients | copy s | copy peak MB | against the first | verify s | verify peak MB |")
    print("|---|---|---|---|---|---|")
    first = 0.0
    with EmbeddedPostgres.start(durable=False) as postgres:
        for size in sizes:
            for database in ("source", "target"):
                postgres.create_database(database, replace=True)
                revisions.upgrade(postgres.url(database))
            fill_salon(postgres.url("source"), clients=size)
            with PageServer(postgres.url("source")) as server:
                environment = {
                    **os.environ,
                    "SUPABASE_URL": server.url,
                    "SUPABASE_KEY": server.service_key,
                    "DATABASE_URL": postgres.url("target"),
                }
                program = [sys.executable, "-m", "app.cli.main"]
                seconds, megabytes = measure([*program, "copy"], environment)
                verify_seconds, verify_megabytes = measure([*program, "verify"], environment)
            first = first or megabytes
            row = [f"{size:,}", f"{seconds:.1f}", f"{megabytes:.1f}", f"{megabytes / first:.2f}x"]
            print(f"| {' | '.join([*row, f'{verify_seconds:.1f}', f'{verify_megabytes:.1f}'])} |")


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [10_000, 100_000])
