"""The report of a verification in words and as a document."""

from __future__ import annotations

from typing import Any

from app.cli.output import document, say, show_table
from app.migration.report import Difference, VerifyReport

_SHOWN = 20


def show_verify(report: VerifyReport, *, flags: str = "", show_values: bool = False) -> None:
    """Print counts a table, the first differences, the verdict, and what to run next.

    Args:
        flags: the options that chose the tables, with a leading blank.
        show_values: the values that differ too, and keys unmasked.
    """
    show_table(
        ["table", "source", "target", "equal", "differences", "seconds"],
        [
            [
                table.table,
                f"{table.source_rows:,}",
                f"{table.target_rows:,}",
                f"{table.equal:,}",
                f"{len(table.differences):,}",
                f"{table.seconds:.1f}",
            ]
            for table in report.tables
        ],
        numbers=frozenset(range(1, 6)),
    )
    differences = report.differences
    for difference in differences[:_SHOWN]:
        say(_sentence(difference, show_values=show_values))
    if len(differences) > _SHOWN:
        say(f"... and {len(differences) - _SHOWN:,} more; all of them: botdata verify{flags} --json")
    rows = sum(table.source_rows for table in report.tables)
    if report.clean:
        say(f"verified: {rows:,} rows, no difference, in {report.seconds:.1f} s. Next: botdata parity")
        return
    say(f"NOT the same: {len(differences):,} differences in {rows:,} rows")
    kinds = {difference.kind for difference in differences}
    if "extra" in kinds:
        say("A copy deletes nothing: extra rows that were deleted at the source on purpose are to be deleted in the")
        say("target too.")
    if kinds != {"extra"}:
        say(f"Next: botdata copy{flags}, then botdata verify{flags}")
        say(
            "Rows that were changed in the target are replaced only with --overwrite. What a copy refuses, or a type of"
        )
        say("the target rounds, stays different until the row or the schema is changed.")


def _sentence(difference: Difference, *, show_values: bool) -> str:
    where = f"{difference.table} {difference.shown_key(show_values=show_values)}"
    if difference.kind == "missing":
        return f"missing: {where} is not in the target"
    if difference.kind == "extra":
        return f"extra: {where} is not in the source"
    values = f": source {difference.source!r}, target {difference.target!r}" if show_values else ""
    return f"different: {where} column {difference.column}{values}"


def verify_document(report: VerifyReport, *, flags: str = "") -> dict[str, Any]:
    """The whole report for `--json`: values and keys as they are."""
    return document(
        "verify",
        ok=report.clean,
        seconds=round(report.seconds, 3),
        tables=[
            {
                "table": table.table,
                "source_rows": table.source_rows,
                "target_rows": table.target_rows,
                "equal": table.equal,
                "differences": [
                    {
                        "kind": difference.kind,
                        "key": list(difference.key),
                        "column": difference.column,
                        "source": difference.source,
                        "target": difference.target,
                    }
                    for difference in table.differences
                ],
                "seconds": round(table.seconds, 3),
            }
            for table in report.tables
        ],
        next="botdata parity" if report.clean else f"botdata copy{flags}",
    )
