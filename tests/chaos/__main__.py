"""Runs every scenario and prints a table: faults injected, survived, rows lost, seconds. `make chaos`.

    python -m tests.chaos [--seed 1] [--share 1.0] [--only SCENARIO ...]

It ends with exit code 1 where anything was not as it has to be. The same seed repeats the same faults. What is run in
full (--share 1) takes the place of its last run in `results.json`, beside this file, and in docs/measurements.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine
from tests.chaos.progress import progress
from tests.chaos.scenario import Chaos, Scenario
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.transcript import Transcript
from tests.support.result_tables import CHAOS, markdown_table

COLUMNS = ("scenario", "faults", "injected", "survived", "rows lost", "seconds")
_SEARCHED = "lines printed, logged and raised by all of these, searched for planted keys, passwords and phone numbers"

Row = dict[str, Any]


def carry_out(scenario: Scenario, seed: int, share: float) -> Row:
    """Run one, print its row and what was wrong; the row, with the counts of all that goes into the last one."""
    began = time.perf_counter()
    transcript = Transcript()
    with tempfile.TemporaryDirectory(prefix="botdata-chaos-") as directory:
        Path(directory).chmod(0o755)  # the embedded servers run under a user of their own
        chaos = Chaos(seed, share, Path(directory), transcript)
        with progress(scenario.name, chaos.outcome):
            try:
                scenario.run(chaos)
            except AssertionError as error:
                chaos.outcome.wrong.append(f"broken off: {error}")
    outcome = chaos.outcome
    if not outcome.injected:
        outcome.wrong.append("no fault was injected")
    elif outcome.survived != outcome.injected and not outcome.wrong:
        outcome.wrong.append(f"{outcome.injected - outcome.survived} faults were not survived")
    numbers = (f"{outcome.injected:,}", f"{outcome.survived:,}", f"{outcome.lost:,}")
    seconds = f"{time.perf_counter() - began:.0f}"
    row = dict(zip(COLUMNS, (scenario.name, scenario.faults, *numbers, seconds), strict=True))
    show([row])
    for line in sorted(set(transcript.leaks)):
        print(f"  {line}", flush=True)
    wrong = len(outcome.wrong) + outcome.lost + len(transcript.leaks)
    return row | {"wrong": wrong, "lines": transcript.lines, "leaks": len(transcript.leaks)}


def searched(counted: list[Row]) -> Row:
    """The last row: how many lines were looked through for secrets, and how many held none."""
    lines, leaks = (sum(row[name] for row in counted) for name in ("lines", "leaks"))
    return dict(zip(COLUMNS, ("secrets", _SEARCHED, f"{lines:,}", f"{lines - leaks:,}", "0", ""), strict=True))


def show(rows: Iterable[Row]) -> None:
    """Print lines of the table."""
    for row in rows:
        print(markdown_table([row[column] for column in COLUMNS], []).partition("\n")[0], flush=True)


def keep(rows: list[Row], where: str) -> None:
    """Put rows of full runs in the place of their last ones, and the table into its page once it is whole."""
    kept = json.loads(CHAOS.path.read_text(encoding="utf-8"))["rows"] if CHAOS.path.exists() else []
    known = {row["scenario"]: row for row in [*kept, *rows]}
    order = [known[scenario.name] for scenario in SCENARIOS if scenario.name in known]
    day = datetime.now(UTC).date().isoformat()
    document = {"machine": where, "day": day, "columns": COLUMNS, "rows": [*order, searched(order)]}
    CHAOS.path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if len(order) == len(SCENARIOS):
        CHAOS.show()


def main(names: list[str], seed: int, share: float) -> int:
    """How many things were wrong."""
    where = f"{machine.describe()}, seed {seed}"
    print(f"on {where}", flush=True)
    rows = []
    for scenario in SCENARIOS:
        if scenario.name in names:
            rows.append(carry_out(scenario, seed, share))
            if share == 1:
                keep(rows[-1:], where)
    show([searched(rows)])
    return sum(row["wrong"] for row in rows)


if __name__ == "__main__":
    every = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="of the full number of faults; the default is 1")
    parser.add_argument("--only", nargs="+", choices=every, default=every, metavar="SCENARIO")
    given = parser.parse_args()
    sys.exit(bool(main(given.only, given.seed, given.share)))
