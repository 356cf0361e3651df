"""The report of preflight in words, tables and JSON."""

from collections.abc import Sequence
from typing import Any

from app.cli.given_options import GivenOptions
from app.cli.output import document, say, show_table
from app.migration.preflight.findings import Finding, PreflightReport, RoleAtTable, SchemaDifference

_HEADINGS = {"error": "Errors", "warning": "Warnings", "notice": "Notices"}
_LONGEST_CELL = 80  # characters


def show_preflight(report: PreflightReport, given: GivenOptions) -> None:
    """Print counts, findings by severity, differences of the target's schema, the verdict and the next command."""
    show_table(
        ["table", "source rows", "target rows"],
        [[one.table, _count(one.source_rows), _count(one.target_rows)] for one in report.tables],
        numbers=frozenset({1, 2}),
    )
    if report.app_role is not None and report.app_role.tables:
        say(f"As {report.app_role.name}:")
        show_table(
            ["table", "reads", "writes", "row-level security", "sees", "of"],
            [_as_role(one) for one in report.app_role.tables],
            numbers=frozenset({4, 5}),
        )
    for severity, heading in _HEADINGS.items():
        of_kind = [one for one in report.findings if one.severity == severity]
        if of_kind:
            say(f"{heading}:")
            show_findings(of_kind)
    if report.differences:
        say("The target's schema, what is and what should be:")
        show_differences(report.differences)
    warnings = sum(one.severity == "warning" for one in report.findings)
    verdict = "clear" if report.clear else "NOT clear"
    say(f"preflight {verdict}: {len(report.errors)} errors, {warnings} warnings, in {report.seconds:.1f} s")
    say(f"Next: {given.text(report.next_step)}")


def show_findings(findings: Sequence[Finding]) -> None:
    """Print each finding: its code, its sentence, what to do."""
    for one in findings:
        say(f"  {one.severity} {one.code}: {one.message}")
        say(f"    do: {one.remedy}")


def show_differences(differences: Sequence[SchemaDifference]) -> None:
    """Print them as a table."""
    show_table(
        ["table", "item", "is", "should be"],
        [[one.table, one.item, _short(one.found), _short(one.expected)] for one in differences],
    )


def _short(definition: str | None) -> str:
    """What fits into a table's cell; `--json` has it whole."""
    if definition is None:
        return "-"
    return definition if len(definition) <= _LONGEST_CELL else f"{definition[: _LONGEST_CELL - 3]}..."


def _as_role(one: RoleAtTable) -> list[str]:
    secured = {True: "applies", False: "does not apply", None: "-"}[one.secured]
    return [
        one.table,
        "yes" if one.reads else "no",
        ", ".join(one.writes).lower() or "no",
        secured,
        _count(one.seen),
        _count(one.rows),
    ]


def _count(rows: int | None) -> str:
    return "-" if rows is None else f"{rows:,}"


def preflight_document(report: PreflightReport, given: GivenOptions) -> dict[str, Any]:
    """The whole report for `--json`."""
    return document(
        "preflight",
        ok=report.clear,
        next=given.text(report.next_step),
        seconds=round(report.seconds, 3),
        tables=[
            {"table": one.table, "source_rows": one.source_rows, "target_rows": one.target_rows}
            for one in report.tables
        ],
        findings=[
            {
                "code": one.code,
                "severity": one.severity,
                "message": one.message,
                "remedy": one.remedy,
                "table": one.table,
                "column": one.column,
                "name": one.name,
                "found": one.found,
                "expected": one.expected,
            }
            for one in report.findings
        ],
        differences=[
            {"table": one.table, "item": one.item, "found": one.found, "expected": one.expected}
            for one in report.differences
        ],
        app_role=None
        if report.app_role is None
        else {
            "role": report.app_role.name,
            "tables": [
                {
                    "table": one.table,
                    "reads": one.reads,
                    "writes": list(one.writes),
                    "row_security": one.secured,
                    "seen": one.seen,
                    "rows": one.rows,
                }
                for one in report.app_role.tables
            ],
        },
    )
