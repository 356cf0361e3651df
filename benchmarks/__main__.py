"""Measures every promise about speed and memory, side by side with what it is compared with: `make bench`.

    python -m benchmarks [--quick] [--only SUITE ...] [--output DIRECTORY]

It takes about forty minutes on a machine with nothing else to do, and prints a row as soon as it is known. What
is measured in full takes the place of its last figures in `results.json`, beside this file, and in
docs/measurements.md.
--quick takes small sizes, whose figures mean nothing, and needs a directory for its results.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.row import Size
from tests.support.result_tables import BENCHMARKS, ResultTable, markdown_table

SUITES = (
    "copy_rest",
    "copy_connection",
    "verify",
    "first_sync",
    "copy_memory",
    "calls",
    "callers",
    "pooler",
    "stages",
    "salons",
    "imports",
    "stream",
)
COLUMNS = ("what", "against", "to reach", "measured", "reached")


Row = dict[str, Any]


def measure(suite: str, size: Size) -> list[Row]:
    """The rows of one suite, each printed as soon as it is known."""
    began = time.perf_counter()
    rows = []
    for row in import_module(f"benchmarks.{suite}").rows(size):
        cells = (row.what, row.against, row.to_reach, row.measured, "yes" if row.reached else "no")
        rows.append({"suite": suite, **dict(zip(COLUMNS, cells, strict=True)), "samples": dict(row.samples)})
        print(markdown_table(cells, []).partition("\n")[0], flush=True)
    print(f"  ({suite}: {time.perf_counter() - began:.0f} s)", flush=True)
    return rows


def keep(rows: list[Row], where: str, path: Path) -> list[Row]:
    """Put the rows of these suites in the place of their last ones; all rows that are there now."""
    kept = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    new = {row["suite"] for row in rows}
    known = [*rows, *(row for row in kept if row["suite"] not in new)]
    order = [row for suite in SUITES for row in known if row["suite"] == suite]
    day = datetime.now(UTC).date().isoformat()
    document = {"machine": where, "day": day, "columns": COLUMNS, "rows": order}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return order


def main(suites: list[str], size: Size, directory: Path) -> None:
    """Measure, print and write down."""
    where = machine.describe()
    print(f"on {where}", flush=True)
    table = ResultTable(BENCHMARKS.name, directory / BENCHMARKS.path.name)
    for suite in SUITES:
        if suite in suites:
            rows = keep(measure(suite, size), where, table.path)
            (directory / "results.md").write_text(table.markdown(), encoding="utf-8")
    if size.full:
        print(f"{sum(row['reached'] == 'yes' for row in rows)} of {len(rows)} reached; the table is in {directory}")
    if table == BENCHMARKS and {row["suite"] for row in rows} == set(SUITES):
        table.show()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, just to see that everything runs")
    parser.add_argument("--only", nargs="+", choices=SUITES, default=list(SUITES), metavar="SUITE")
    parser.add_argument("--output", type=Path, help="where the results go instead of benchmarks/")
    given = parser.parse_args()
    if given.quick and given.output is None:
        parser.error("--quick needs --output DIRECTORY, since its figures are not to be kept")
    main(given.only, Size(full=not given.quick), given.output or BENCHMARKS.path.parent)
