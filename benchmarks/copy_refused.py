"""What refused rows cost: `botdata copy` of clients, 1 % of them refused for five reasons, against a clean copy.

    python benchmarks/copy_refused.py [ROWS [ROUNDS]]     100000 rows and 3 rounds, where none are given

In the checkout's environment; it needs nothing else. For each kind of source (REST, by the tests' page server in this
process; a database connection) and each round, a clean source and one with refused rows are copied into a new target
by turns, as a user's command. Then all refused rows must be in quarantine with their reasons, go in by a replay after
the target's schema was mended, and verify clean: else it ends with exit code 1.

It prints a row for each kind of source, with the medians of the seconds, and ends with the largest ratio of a copy with
refused rows to a clean one. At most 2 is promised; above that the exit code is 1.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from statistics import median
from time import perf_counter

import psycopg

from app.embedded import EmbeddedPostgres
from app.embedded.salon import fill_salon
from app.schema import revisions
from tests.support.page_server import PageServer

# What the faulty source allows and the target does not, and the rows that are refused for it: one in 500 each.
LOOSER = """
ALTER TABLE clients ALTER name TYPE text, ALTER phone DROP NOT NULL, ALTER total_spent TYPE numeric,
    ALTER visit_count TYPE text, ALTER last_sync_at TYPE text;
UPDATE clients SET name = repeat('я', 256) WHERE id % 500 = 17;
UPDATE clients SET phone = NULL WHERE id % 500 = 118;
UPDATE clients SET total_spent = 10000000000 WHERE id % 500 = 219;
UPDATE clients SET visit_count = 'many' WHERE id % 500 = 320;
UPDATE clients SET last_sync_at = 'yesterday, or so' WHERE id % 500 = 421;
"""
REASONS = ("22001", "23502", "22003", "22P02", "22007")
MOST = 2.0  # times as slow
MENDED = """
ALTER TABLE clients ALTER name TYPE text, ALTER phone DROP NOT NULL, ALTER total_spent TYPE numeric,
    ALTER visit_count TYPE text, ALTER last_sync_at TYPE text
"""


def botdata(*arguments: str, **environment: str) -> tuple[float, int, str]:
    """Run a command; returns its seconds, its exit code and its output."""
    began = perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "app.cli.main", *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return perf_counter() - began, done.returncode, done.stdout


def expect(code: int, wanted: int, output: str) -> None:
    """SystemExit where a command ended otherwise than it should."""
    if code != wanted:
        sys.exit(f"exit code {code}, not {wanted}:\n{output}")


def main(clients: int, rounds: int) -> None:
    """Measure and print."""
    ratios: list[float] = []
    options = ["--tables", "clients", "--max-quarantine", str(clients), "--accept", "source-type-differs"]
    print("| source | rows | refused | clean s | refused s | ratio | replay s |")
    print("|---|---|---|---|---|---|---|")
    with EmbeddedPostgres.start(durable=False) as postgres:
        for database in ("clean", "faulty"):
            postgres.create_database(database, replace=True)
            revisions.upgrade(postgres.url(database))
            fill_salon(postgres.url(database), clients=clients)
        with psycopg.connect(postgres.url("faulty"), autocommit=True) as connection:
            connection.execute(LOOSER)
            connection.execute("VACUUM FULL ANALYZE clients")
        with PageServer(postgres.url("clean")) as clean, PageServer(postgres.url("faulty")) as faulty:
            for over in ("REST", "connection"):
                seconds: dict[str, list[float]] = {"clean": [], "faulty": []}
                for _ in range(rounds):
                    for name, server in (("clean", clean), ("faulty", faulty)):
                        postgres.create_database("target", replace=True)
                        revisions.upgrade(postgres.url("target"))
                        settings = {"DATABASE_URL": postgres.url("target")}
                        if over == "REST":
                            settings |= {"SUPABASE_URL": server.url, "SUPABASE_KEY": server.service_key}
                        else:
                            settings |= {"MIGRATION_SOURCE": postgres.url(name)}
                        took, code, output = botdata("copy", *options, **settings)
                        expect(code, int(name == "faulty"), output)
                        seconds[name].append(took)
                refused = check_quarantine(postgres.url("target"), clients)
                with psycopg.connect(postgres.url("target")) as connection:
                    connection.execute(MENDED)
                replay, code, output = botdata("quarantine", "replay", **settings)
                expect(code, 0, output)
                _, code, output = botdata("verify", "--tables", "clients", **settings)
                expect(code, 0, output)
                row = [over, f"{clients:,}", f"{refused:,}", *(f"{median(s):.2f}" for s in seconds.values())]
                ratio = median(seconds["faulty"]) / median(seconds["clean"])
                ratios.append(ratio)
                print(f"| {' | '.join([*row, f'{ratio:.2f}x', f'{replay:.2f}'])} |", flush=True)

    print(f"with refused rows a copy took {max(ratios):.2f}x as long at most; {MOST:.0f}x is promised")
    if max(ratios) > MOST:
        sys.exit(1)


def check_quarantine(target: str, clients: int) -> int:
    """The number of refused rows; SystemExit where one is missing, or has another reason."""
    with psycopg.connect(target) as connection:
        states = Counter(state for (state,) in connection.execute("SELECT sqlstate FROM botdata.quarantine"))
    if states != dict.fromkeys(REASONS, clients // 500):
        sys.exit(f"refused for other reasons than planted: {states}")
    return states.total()


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100_000, int(sys.argv[2]) if sys.argv[2:] else 3)
