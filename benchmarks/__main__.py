"""Measures every promise about speed and memory, side by side with what it is compared with: `make bench`.

    python -m benchmarks [--quick] [--only SUITE ...] [--output DIRECTORY]

A full run takes about a quarter of an hour on a machine with nothing else to do. It prints a row as soon as it is
known, and leaves `results.json` and `results.md` in the directory; a whole one, without --only, also puts the table
into the README. --quick takes small sizes: its figures mean nothing, and it leaves the README alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from benchmarks import machine
from benchmarks.row import Size
from tests.support.readme_tables import BENCHMARKS, markdown_table

SUITES = ("copy_rest", "copy_connection", "verify", "copy_memory", "calls", "callers", "stages", "imports")
COLUMNS = ("what", "against", "to reach", "measured", "reached")


def main(suites: list[str], size: Size, directory: Path) -> None:
    """Measure, print and write down."""
    where = machine.describe()
    print(f"on {where}", flush=True)
    rows = []
    for name in suites:
        began = time.perf_counter()
        for row in import_module(f"benchmarks.{name}").rows(size):
            cells = (row.what, row.against, row.to_reach, row.measured, "yes" if row.reached else "no")
            rows.append(dict(zip(COLUMNS, cells, strict=True)) | {"samples": dict(row.samples)})
            print(markdown_table(cells, []).partition("\n")[0], flush=True)
        print(f"  ({name}: {time.perf_counter() - began:.0f} s)", flush=True)
    directory.mkdir(parents=True, exist_ok=True)
    day = datetime.now(UTC).date().isoformat()
    document = {"machine": where, "day": day, "quick": not size.full, "columns": COLUMNS, "rows": rows}
    (directory / "results.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    table = markdown_table(COLUMNS, [[str(row[column]) for column in COLUMNS] for row in rows])
    (directory / "results.md").write_text(table + "\n", encoding="utf-8")
    reached = sum(row["reached"] == "yes" for row in rows)
    if size.full:
        print(f"{reached} of {len(rows)} reached; {directory / 'results.md'} holds the table")
    if size.full and suites == list(SUITES) and directory == BENCHMARKS.path.parent:
        BENCHMARKS.show_in_readme()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, just to see that everything runs")
    parser.add_argument("--only", nargs="+", choices=SUITES, default=list(SUITES), metavar="SUITE")
    parser.add_argument("--output", type=Path, help="where the results go; benchmarks/ for a whole full run")
    given = parser.parse_args()
    whole = not given.quick and given.only == list(SUITES)
    if given.output is None and not whole:
        sys.exit("--output DIRECTORY is needed where not everything is measured, to keep the last whole results")
    main(given.only, Size(full=not given.quick), given.output or BENCHMARKS.path.parent)
