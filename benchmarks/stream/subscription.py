"""The change stream beside a native subscription, on the same changes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

from psycopg.conninfo import conninfo_to_dict

from benchmarks.row import Row, at_most, by_turns
from benchmarks.stream.following import begun, dropped, until_now
from benchmarks.stream.load import CHANGES, write
from benchmarks.stream.servers import are_equal, ask, clients_at_source, logical_servers

_MOST_TIMES = 5
OURS, NATIVE = "botdata sync --by stream", "native subscription"
_REFUSED = 10
_WAITING = 10.0  # seconds in which a subscription shows that it stands still
_CAUGHT_UP = "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = 'native'"


def rows(*, clients: int, changes: int, rounds: int) -> Iterator[Row]:
    """Changes are made first; then each brings them, by turns. At the end come ten that both targets refuse."""
    source = clients_at_source(clients)
    ours, native = _targets(source)
    transactions = changes // CHANGES // 2
    made = iter(range(rounds * 2))

    try:

        def follow() -> float:
            return until_now(source, ours)

        figures: dict[str, list[float]] = {OURS: [], NATIVE: []}
        for _ in range(rounds):
            write(source, clients, transactions=transactions, first=next(made) * transactions)
            for name, seconds in by_turns(1, {OURS: follow, NATIVE: lambda: _bring(source, native)}).items():
                figures[name] += seconds
        equal = are_equal(source, ours, native)
        what = f"change stream, {changes:,} changes, {CHANGES} to a transaction"
        yield at_most(_MOST_TIMES, what, "a native subscription on the same changes", figures, OURS, NATIVE)
        yield _refused(source, ours, native, equal=equal)
    finally:
        ask(native, "DROP SUBSCRIPTION native")
        ask(source, "DROP PUBLICATION native")
        dropped(source, ours)


def _targets(source: str) -> tuple[str, str]:
    """One that botdata has begun to follow, and one with a subscription that stands still; both equal to the source."""
    both = logical_servers()
    ours = both.empty_target("ours")
    both.botdata("copy", "--source", source, "--tables", "clients", target=ours)
    begun(source, ours)
    ask(source, "CREATE PUBLICATION native FOR TABLE clients")
    ask(source, "SELECT pg_create_logical_replication_slot('native', 'pgoutput')")
    native = both.copied_target(ours, "native")
    ask(native, "DROP SCHEMA botdata CASCADE")  # the copy's: it follows nothing by botdata
    host = both.source.socket_directory
    name = conninfo_to_dict(source)["dbname"]
    ask(
        native,
        f"CREATE SUBSCRIPTION native CONNECTION 'host={host} port=5432 user=postgres dbname={name}' PUBLICATION native "
        "WITH (create_slot = false, slot_name = native, copy_data = false, enabled = false)",
    )
    return ours, native


def _bring(source: str, native: str) -> float:
    """Seconds that the subscription takes to where the source is now."""
    lsn = ask(source, "SELECT pg_current_wal_insert_lsn()::text")
    began = time.perf_counter()
    ask(native, "ALTER SUBSCRIPTION native ENABLE")
    while not ask(source, _CAUGHT_UP, lsn):
        time.sleep(0.05)
    seconds = time.perf_counter() - began
    ask(native, "ALTER SUBSCRIPTION native DISABLE")
    while ask(source, "SELECT active FROM pg_replication_slots WHERE slot_name = 'native'"):
        time.sleep(0.05)
    return seconds


def _refused(source: str, ours: str, native: str, *, equal: bool) -> Row:
    """Ten rows that both targets refuse, and one after them."""
    for target in (ours, native):
        ask(target, "ALTER TABLE clients ADD CHECK (status <> 'refused')")
    first = ask(source, "SELECT max(id) FROM clients")
    ask(
        source,
        "UPDATE clients SET status = 'refused' WHERE id IN (SELECT id FROM clients ORDER BY id LIMIT %s)",
        _REFUSED,
    )
    ask(source, "UPDATE clients SET status = 'fine' WHERE id = %s", first)
    with suppress(SystemExit):  # its exit code says that there are refused rows
        until_now(source, ours)
    ask(native, "ALTER SUBSCRIPTION native ENABLE")
    time.sleep(_WAITING)
    passed = {
        target: ask(target, "SELECT status = 'fine' FROM clients WHERE id = %s", first) for target in (ours, native)
    }
    set_aside = ask(ours, "SELECT count(*) FROM botdata.quarantine")
    ask(native, "ALTER SUBSCRIPTION native DISABLE")
    goes, stands = ("goes on" if passed[target] else "stands still" for target in (ours, native))
    return Row(
        f"change stream, past {_REFUSED} refused rows",
        "a native subscription on the same changes",
        "goes on, with the rows set aside",
        f"{goes}, {set_aside} set aside; the subscription {stands}; before them {'equal' if equal else 'DIFFERENT'}",
        bool(passed[ours]) and set_aside == _REFUSED and equal,
        {"set aside": [float(set_aside)]},
    )
