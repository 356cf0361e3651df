"""The reports of copy and verify in words, tables and JSON."""

from __future__ import annotations

from typing import Any

from app.cli.output import say, show_table
from app.migration.report import CopyReport, Difference, VerifyReport
from app.migration.source import Key
from app.privacy import mask_phones

_SHOWN = 20


def show_copy(report: CopyReport, *, flags: str = "") -> None:
    """Print what was copied, what was refused and what is missing, and what to run next.

    Args:
        flags: the options that chose the tables, with a leading blank.
    """
    show_table(
        ["table", "source", "new", "changed", "equal", "refused", "seconds"],
        [
            [
                table.table,
                f"{table.source_after:,}",
                f"{table.inserted:,}",
                f"{table.updated:,}",
                f"{table.unchanged:,}",
                f"{len(table.refused):,}",
                f"{table.seconds:.1f}",
            ]
            for table in report.tables
        ],
        numbers=frozenset(range(1, 7)),
    )
    for table in report.tables:
        if table.source_before != table.source_after:
            say(f"{table.table}: {table.source_before:,} rows in the source before, {table.source_after:,} after")
        if table.came:
            say(f"{table.table}: {table.came:,} rows came while it was copied, and were fetched too")
        if table.went:
            say(f"{table.table}: {table.went:,} rows of the target are not in the source (any more)")
        if table.missing:
            say(f"{table.table}: {len(table.missing):,} rows of the source did not arrive: {_some(table.missing)}")
    refused = [refusal for table in report.tables for refusal in table.refused]
    for refusal in refused[:_SHOWN]:
        place = f" ({refusal.place})" if refusal.place else ""
        say(f"refused: {refusal.table} {', '.join(refusal.key)}: SQLSTATE {refusal.sqlstate}{place}")
    if len(refused) > _SHOWN:
        say(f"... and {len(refused) - _SHOWN:,} more")
    copied = sum(table.copied for table in report.tables)
    counts = f"{copied:,} rows copied" + (f", {len(refused):,} in quarantine" if refused else "")
    skipped = [table.table for table in report.tables if table.done_before]
    if skipped:
        say(f"done before the stop, and not read again: {', '.join(skipped)}; what has changed there since needs one")
        say(f"more copy: botdata copy{flags}")
    if report.complete:
        say(f"copy complete: {counts} in {report.seconds:.1f} s. Next: botdata verify{flags}")
        return
    say(f"copy NOT complete: {counts}")
    if any(refusal.sqlstate == "23505" for refusal in refused):
        say("A unique key of a refused row is held by another row of the target, likely one that the source no longer")
        say("has, as verify shows: delete that one from the target.")
    elif refused:
        say("Mend the refused rows at the source, or the target's schema.")
    say(f"Next: botdata copy{flags}")


def _some(keys: tuple[Key, ...]) -> str:
    """The first keys of many, phones masked."""
    shown = "; ".join(mask_phones(", ".join(key)) for key in keys[:_SHOWN])
    return shown + ("; ..." if len(keys) > _SHOWN else "")


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


def verify_document(report: VerifyReport) -> dict[str, Any]:
    """The whole report for `--json`: values and keys as they are."""
    return {
        "clean": report.clean,
        "seconds": round(report.seconds, 3),
        "tables": [
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
            }
            for table in report.tables
        ],
    }
