"""A cutover with a bit of everything: troubles, a run, compared reads, hostile names and a person's phone number."""

import json

from app.state.cutover.standby_reads import StandbyReads, StandbyReport
from tests.fixtures.cutover import Pair

HOSTILE = "<img src=x onerror=alert(1)>\"'&<script>alert(2)</script>"
PHONE = "79684484488"


def fill(pair: Pair) -> None:
    """Plant it, at the stage `shadow`; one process is silent, the other one reports itself for a day."""
    pair.set_stage("shadow")
    pair.ask(
        "INSERT INTO botdata.processes (name, stage, chosen_by, reported_at, stage_since, problem) VALUES "
        "('bot-1:4711:a1b2c3', 'shadow', 'CUTOVER_STAGE=database', now() + interval '1 day', now(), NULL), "
        "('bot-2:4712:b2c3d4', 'shadow', 'CUTOVER_STAGE=database', now() - interval '7 min', now(), %s)",
        f"cannot write {HOSTILE} for {PHONE}",
    )
    pair.ask(
        "UPDATE botdata.processes SET standby_reads = %s::json WHERE name LIKE 'bot-1:%%'",
        json.dumps(
            StandbyReads(
                1234,
                56,
                (StandbyReport("192.168.10.21:5432", "answers", 8192, 0.4), StandbyReport(HOSTILE, "away", None, None)),
            ).document()
        ),
    )
    pair.ask(
        "INSERT INTO botdata.notes (process, table_name, key, attempts, state, last_error) VALUES "
        "('x', 'clients', '{7}', 3, 'written', %s), ('x', %s, '{7}', 0, 'written', NULL)",
        f"the row of {PHONE} was refused", HOSTILE,
    )  # fmt: skip
    pair.ask("INSERT INTO botdata.runs (id, command, source) OVERRIDING SYSTEM VALUE VALUES (9, 'copy', %s)", HOSTILE)
    for table, state, source, rows in (("companies", "complete", 3, 3), (HOSTILE, "copying", 1_200_000, 340_000)):
        pair.ask(
            "INSERT INTO botdata.checkpoints (run_id, table_name, state, source_before, inserted, begun_at) "
            "VALUES (9, %s, %s, %s, %s, now() - interval '90 s')",
            table, state, source, rows,
        )  # fmt: skip
    pair.ask("INSERT INTO botdata.sync_progress (table_name, rows, total, seconds) VALUES (%s, 340, 1000, 2)", HOSTILE)
    pair.ask("INSERT INTO botdata.synced_tables (table_name, source, began_at) SELECT 'clients', 'x', now()")
    pair.ask(
        "INSERT INTO botdata.comparisons (process, minute, stage, method, calls, equal, different, error, "
        "authority_latency, other_latency) SELECT 'x', date_trunc('minute', now()) - n * interval '1 min', 'shadow', "
        "m, 40, 38, CASE m WHEN 'get_staff' THEN 1 ELSE 0 END, 1, "
        "array_fill(0, ARRAY[38 + n % 5]) || ARRAY[30, 8, 2], array_fill(0, ARRAY[24 + n % 3]) || ARRAY[35, 4, 1] "
        "FROM generate_series(0, 30) n, unnest(ARRAY['get_client_by_phone', 'get_services', 'get_staff']) m"
    )
