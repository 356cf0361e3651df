"""Runs every scenario and prints a table: faults injected, survived, rows lost, seconds. `make chaos`.

    python -m tests.chaos [--seed 1] [--share 1.0] [--only SCENARIO ...]

It ends with exit code 1 where anything was not as it has to be. The same seed repeats the same faults. A whole run with
--share 1 leaves `results.json` beside this file and puts the table into the README.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine
from tests.chaos.scenario import Chaos
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.transcript import Transcript
from tests.support.readme_tables import CHAOS, markdown_table

COLUMNS = ("scenario", "faults", "injected", "survived", "rows lost", "seconds")


def main(names: list[str], seed: int, share: float) -> int:
    """How many things were wrong."""
    where, transcript = machine.describe(), Transcript()
    print(f"on {where}, seed {seed}", flush=True)
    rows: list[dict[str, str]] = []
    wrongs = 0

    def show(cells: tuple[str, ...]) -> None:
        rows.append(dict(zip(COLUMNS, cells, strict=True)))
        print(markdown_table(cells, []).partition("\n")[0], flush=True)

    for scenario in SCENARIOS:
        if scenario.name not in names:
            continue
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="botdata-chaos-") as directory:
            Path(directory).chmod(0o755)  # the embedded servers run under a user of their own
            outcome = scenario.run(Chaos(seed, share, Path(directory), transcript))
        numbers = (f"{outcome.injected:,}", f"{outcome.survived:,}", f"{outcome.lost:,}")
        show((scenario.name, scenario.faults, *numbers, f"{time.perf_counter() - began:.0f}"))
        wrongs += len(outcome.wrong) + outcome.lost
        for line in outcome.wrong:
            print(f"  {line}", flush=True)
    leaks = sorted(set(transcript.leaks))
    faults = "lines printed, logged and raised, searched for planted keys, passwords and phone numbers"
    numbers = (f"{transcript.lines:,}", f"{transcript.lines - len(transcript.leaks):,}", "0")
    show(("secrets", faults, *numbers, ""))
    for line in leaks:
        print(f"  {line}")
    if share == 1 and len(names) == len(SCENARIOS):
        day = datetime.now(UTC).date().isoformat()
        document = {"machine": f"{where}, seed {seed}", "day": day, "columns": COLUMNS, "rows": rows}
        CHAOS.path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        CHAOS.show_in_readme()
    return wrongs + len(leaks)


if __name__ == "__main__":
    every = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="of the full number of faults; the default is 1")
    parser.add_argument("--only", nargs="+", choices=every, default=every, metavar="SCENARIO")
    given = parser.parse_args()
    sys.exit(bool(main(given.only, given.seed, given.share)))
