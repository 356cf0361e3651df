"""Reports for tests: of a small salon that was moved, with all that a target can remember, some of it hostile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Json
from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.common.latency import Latencies
from app.embedded.salon import fill_salon
from app.migration.tables.metadata import select_tables
from app.migration.target.target_session import open_target
from app.models import Base
from app.report.making import make_report
from app.report.page import render
from app.report.texts import Language
from app.state.cutover.standby_reads import StandbyReads, StandbyReport
from app.state.tool_schema import ensure_tool_schema
from tests.cutover.test_report import COUNTS
from tests.migration.engine import Served, Told, copy_from, execute, source_of, verify_from

PHONE = "+7 (968) 448-44-88"
SECRETS = ("eyJhbGciOiJIUzI1NiJ9.planted.key", "sb_secret_planted0key", "planted-password", "79684484488", PHONE)
SCRIPT = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"
_TOLD = f"{SCRIPT} call {PHONE} or postgresql://owner:planted-password@host/db with {SECRETS[0]} and {SECRETS[1]}"
HOSTILE = f'"><b>{SCRIPT[:40]}'  # a name of 63 bytes at most


async def salon_report(served: Served, source: str, target: str) -> dict[str, Any]:
    """The facts of a salon's move, as the demo makes it, at a stage where much has happened."""
    fill_salon(source, clients=120, baileys_keys=20)
    chosen = select_tables(Base.metadata)
    await copy_from(served, target, chosen)
    await verify_from(served, target, chosen)
    remember(target)
    return await report_of(served, target, chosen)


async def hostile_report(served: Served, source: str, target: str) -> dict[str, Any]:
    """The facts of a move of a table and columns whose names are markup, beside texts that are."""
    metadata = MetaData()
    Table(HOSTILE, metadata, Column("id", Integer, primary_key=True), Column(HOSTILE, Text))
    quoted = '"' + HOSTILE.replace('"', '""') + '"'
    for url in (source, target):
        execute(url, f"CREATE TABLE {quoted} (id integer PRIMARY KEY, {quoted} text)")
        execute(url, f"INSERT INTO {quoted} VALUES (1, '{PHONE}'), (2, NULL)")
    async with open_target(target, step="test") as connection:
        await ensure_tool_schema(connection)
    remember(target, _TOLD, HOSTILE)
    return await report_of(served, target, select_tables(metadata))


async def report_of(served: Served, target: str, chosen: list[Table], **options: Any) -> dict[str, Any]:
    """The facts, with both sides hashed."""
    async with source_of(served) as source:
        return await make_report(target, source, chosen, Told(), **options)


def write_page(facts: dict[str, Any], directory: Path, language: Language = "en") -> Path:
    """The page as a file."""
    file = directory / f"report-{language}.html"
    file.write_text(render(facts, language), encoding="utf-8")
    return file


def remember(target: str, told: str = "the client asked for it", name: str = "clients") -> None:
    """Let the target remember what a long move leaves: rows in quarantine, moves, comparisons, an inventory.

    Args:
        told: the texts that people and servers gave.
        name: of tables, constraints and methods.
    """
    with psycopg.connect(target) as connection:

        def ask(statement: str, *parameters: Any) -> None:
            connection.execute(statement.encode(), parameters)

        ask("INSERT INTO botdata.runs (command, source) VALUES ('sync', %s)", "project.supabase.co")
        for number in range(5):
            ask(
                "INSERT INTO botdata.quarantine (run_id, table_name, key, row_text, sqlstate, message, place) "
                "SELECT max(id), %s, %s, %s, %s, %s, %s FROM botdata.runs",
                name, ["79684484488", str(number)], Json({"phone": PHONE}), ("23505", "22001")[number % 2], told, name,
            )  # fmt: skip
        ask(
            "INSERT INTO botdata.streams (name, source, server, publication, tables, lsn, changes, lag, held, to_come, "
            "weighed_at) VALUES ('botdata_1', 'project.supabase.co', '1', '1', '{}', '0/1', 42, 0.8, 9000000, 0, now())"
        )
        ask("UPDATE botdata.stage SET stage = 'live', moved_at = '2026-03-04 22:15:00+00'")
        steps = (("off", "dualwrite"), ("dualwrite", "shadow"), ("shadow", "live"), ("live", "shadow"))
        for day, (before, after) in enumerate((*steps, ("shadow", "live"))):
            state, reason, said = ("given up", None, told) if day == 2 else ("done", told if day > 2 else None, None)
            ask(
                "INSERT INTO botdata.moves (kind, from_stage, to_stage, state, begun_at, ended_at, done_by, reason, "
                "said) VALUES (%s, %s, %s, %s, %s::timestamptz, %s::timestamptz + interval '4 s', 'owner@laptop', %s, "
                "%s)",
                "back" if day == 3 else "advance", before, after, state, f"2026-03-0{day + 1} 22:00Z",
                f"2026-03-0{day + 1} 22:00Z", reason, said,
            )  # fmt: skip
        ask(
            "INSERT INTO botdata.processes (name, stage, chosen_by, standby_reads) VALUES ('bot', 'live', 'x', %s)",
            Json(StandbyReads(1234, 56, (StandbyReport(told, "answers", 8192, 0.4),)).document()),
        )
        counts = COUNTS.replace("'get_company'", "%s")
        for method, fast, slow in (
            ("get_client_by_phone", 0.004, 0.09),
            (name, 0.002, 0.03),
            ("get_staff", 0.001, 0.2),
        ):
            connection.execute(
                counts.encode(), ["p", 1, "shadow", method, False, 90, 85, 1, 2, 3, _around(slow), _around(fast)]
            )
        ask(
            "INSERT INTO botdata.differences (stage, method, cause, arguments, fields) "
            "VALUES ('shadow', %s, %s, %s, %s)",
            name, f"{told}: text and null", told, Json([{"path": "phone", "values": [PHONE]}]),
        )  # fmt: skip
        for field, until in (("phone", "2999-12-31"), ("notes", "2026-03-05")):
            ask(
                "INSERT INTO botdata.accepted_differences (method, field, places, until, reason, accepted_by) "
                "VALUES (%s, %s, %s, %s, %s, 'owner@laptop')",
                name, field, [f"{field} (text, null)"], until, told,
            )  # fmt: skip
        items = [
            {"item": f"{kind} {told}", "fate": "to be done", "definition": "d", "open": True}
            for kind in ("function public.notify_booking()", "policy", "bucket photos")
        ]
        ask("INSERT INTO botdata.inventory (source, items) VALUES ('project.supabase.co', %s)", json.dumps(items))


def _around(seconds: float) -> list[int]:
    """The buckets of calls around a time: most near to it, some late."""
    latencies = Latencies()
    for step in range(85):
        latencies.add(seconds * (0.7 + 0.6 * step / 85 + 4 * (step / 85) ** 8))
    return latencies.counts
