"""Changes of made-up clients at a steady rate, ten to a transaction, by pgbench."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.stream.servers import ask, logical_servers

WRITER = "pgbench"
_OWN = ("id", "yclients_id", "phone", "updated_at")
# Of each transaction: six updates, two inserts, a deletion and a changed key. A fifth of the clients is there to be
# deleted, another to get new keys, so that every statement finds its row. `updated_at` is the moment of the change.
_SCRIPT = r"""
\set n :n + 1
\set gone :n * {sessions} + :client_id + 1
\set moved {fifth} + :n * {sessions} + :client_id + 1
\set u0 random({two_fifths}, {clients})
BEGIN \; {updates} \; {insert} \; {insert} \; DELETE FROM clients WHERE id = :gone \; {move} \; COMMIT;
"""
_UPDATE = (
    "UPDATE clients SET last_sync_at = clock_timestamp(), updated_at = clock_timestamp() WHERE id = "
    "{two_fifths} + (:u0 + {step}) % ({clients} - {two_fifths})"
)
_INSERT = (
    "INSERT INTO clients (id, yclients_id, phone, updated_at, {columns}) SELECT i, 1500000000 + i, phone, "
    "clock_timestamp(), {columns} FROM clients, nextval('clients_id_seq') i WHERE id = {two_fifths} + "
    ":u0 % ({clients} - {two_fifths})"
)
_MOVE = "UPDATE clients SET id = nextval('clients_id_seq'), updated_at = clock_timestamp() WHERE id = :moved"
_COLUMNS = (
    "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = "
    "'clients'::regclass AND attnum > 0 AND NOT attisdropped AND attname <> ALL (%s)"
)
CHANGES = 10  # of a transaction


@contextmanager
def writing(
    url: str, clients: int, *, rate: float | None, seconds: int = 0, transactions: int = 0, first: int = 0
) -> Iterator[subprocess.Popen[str]]:
    """Run the load.

    Args:
        clients: that were in the database at first.
        rate: changes a second; None: as fast as it goes.
        seconds: that it lasts; else it is so many transactions of each of the two sessions.
        first: transactions that each session had made before.
    """
    sessions = 2
    fifth, two_fifths = clients // 5, clients * 2 // 5
    much = rate * seconds / CHANGES if rate else transactions * sessions
    assert (first * sessions + much * 1.1) < fifth, "there are too few clients for so many changes"
    known = {"clients": clients, "fifth": fifth, "two_fifths": two_fifths, "sessions": sessions}
    updates = r" \; ".join(_UPDATE.format(step=step, **known) for step in range(6))
    insert = _INSERT.format(columns=ask(url, _COLUMNS, list(_OWN)), **known)
    both = logical_servers()
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "changes.sql"
        text = _SCRIPT.format(updates=updates, insert=insert, move=_MOVE, **known)
        script.write_text(text, encoding="utf-8")
        options = ["-n", "-c", str(sessions), "-j", "1", "-f", str(script), "-D", f"n={first - 1}", "--max-tries=100"]
        options += ["-T", str(seconds)] if seconds else ["-t", str(transactions)]
        options += ["-R", str(rate / CHANGES)] if rate else []
        environment = {**both.source.environment, "PGOPTIONS": "-c synchronous_commit=on", "PGAPPNAME": WRITER}
        with subprocess.Popen(
            [*both.program("pgbench", *options), url],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.terminate()


def write(url: str, clients: int, *, transactions: int, first: int) -> None:
    """So many transactions of each of the two sessions, as fast as they go."""
    with writing(url, clients, rate=None, transactions=transactions, first=first) as process:
        ended(process)


def ended(process: subprocess.Popen[str]) -> None:
    """Wait for the load's end.

    Raises:
        RuntimeError: it failed.
    """
    output, _ = process.communicate()
    if process.returncode or "ERROR" in output:
        raise RuntimeError(f"pgbench failed:\n{output}")
