"""The quick form of the benchmarks: that each suite still runs, and how figures become rows and tables."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from unittest.mock import AsyncMock
from zoneinfo import ZoneInfo

import pytest

from app.embedded.salon import COMPANY_ID, TIMEZONE
from app.embedded.salon.offer import schedule_rows
from benchmarks.__main__ import SUITES
from benchmarks.bot_load import SCHEDULES, BotLoad
from benchmarks.row import at_least, at_most, by_turns
from tests.pooler.bouncer import program as pgbouncer
from tests.support.result_tables import ROOT, markdown_table

_ROWS = {"copy_rest": 2, "copy_connection": 2, "verify": 1, "first_sync": 1, "copy_memory": 2}
_ROWS |= {"calls": 5, "callers": 1, "pooler": 2, "stages": 1, "salons": 1, "imports": 1, "stream": 5}


@pytest.mark.soak
@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_measures_its_rows(suite: str, tmp_path: Path) -> None:
    if suite == "pooler" and pgbouncer() is None:
        pytest.skip("pgbouncer is not installed (Debian's package of that name)")
    program = [sys.executable, "-m", "benchmarks", "--quick", "--only", suite, "--output", str(tmp_path)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert len(document["rows"]) == _ROWS[suite]
    for row in document["rows"]:
        samples = [figure for figures in row["samples"].values() for figure in figures]
        assert samples != []
        assert all(figure >= 0 for figure in samples)
        assert row["reached"] in {"yes", "no"}
        assert row["what"] in (tmp_path / "results.md").read_text(encoding="utf-8")


@pytest.mark.soak
def test_the_sums_of_many_salons_are_measured(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "benchmarks.fleet_sums", "--salons", "4", "--filled", "1"]
    program += ["--output", str(tmp_path / "sums.md")]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=118, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| tables | 188 |" in (tmp_path / "sums.md").read_text(encoding="utf-8")


def test_a_bot_load_adds_no_schedules() -> None:
    data = AsyncMock()
    asyncio.run(BotLoad(data, 0).at_once(5_000, 1))
    written = [row for call in data.upsert_staff_schedules.call_args_list for row in call.args[0]]
    today = datetime.now(ZoneInfo(TIMEZONE)).date()
    there = schedule_rows(COMPANY_ID, SCHEDULES, 12, today)
    assert written != []
    assert {(row["staff_id"], row["date"]) for row in written} <= {(row["staff_id"], str(row["date"])) for row in there}


def test_ways_are_measured_by_turns() -> None:
    order = []

    def way(name: str) -> float:
        order.append(name)
        return float(len(order))

    figures = by_turns(3, {name: lambda name=name: way(name) for name in "ab"})  # type: ignore[misc]
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert figures == {"a": [1.0, 4.0, 5.0], "b": [2.0, 3.0, 6.0]}


def test_a_promise_is_judged_by_medians() -> None:
    figures = {"ours": [3.0, 30.0, 3.0], "theirs": [2.0, 2.0, 20.0]}
    assert at_most(1.5, "copy", "download", figures, "ours", "theirs").reached
    assert not at_most(1.4, "copy", "download", figures, "ours", "theirs").reached
    row = at_least(0.6, "calls", "by hand", figures, "ours", "theirs")
    assert row.reached
    assert row.measured == "0.67x (3.00 s against 2.00 s)"
    assert not at_least(0.7, "calls", "by hand", figures, "ours", "theirs").reached


def test_a_cell_cannot_break_a_table() -> None:
    assert markdown_table(["a", "b"], [["x|y", "1"]]).splitlines() == ["| a | b |", "| --- | --- |", r"| x\|y | 1 |"]
