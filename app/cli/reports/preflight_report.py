"""The report of preflight in words, tables and JSON."""

from collections.abc import Iterator, Sequence

from app.cli.options import GivenOptions
from app.cli.render import Document, Table, Words, document
from app.migration.preflight.findings import Finding, PreflightReport

_HEADINGS = {"error": "Errors", "warning": "Warnings", "notice": "Notices"}
_SECURED = {True: "applies", False: "does not apply", None: "-"}
_LONGEST_CELL = 80  # characters


def preflight_words(report: PreflightReport, found: Document) -> Words:
    """Counts, findings by severity, differences of the target's schema, the verdict and the next command."""
    rows = {"source_rows": "source rows", "target_rows": "target rows"}
    yield Table.of(found["tables"], {"table": "table", **rows})
    role = found["app_role"]
    if role is not None and role["tables"]:
        yield f"As {role['role']}:"
        yield Table(
            ["table", "reads", "writes", "row-level security", "sees", "of"],
            [_as_role(one) for one in role["tables"]],
            numbers={4, 5},
        )
    for severity, heading in _HEADINGS.items():
        of_kind = [one for one in report.findings if one.severity == severity]
        if of_kind:
            yield f"{heading}:"
            yield from finding_lines(of_kind)
    if found["differences"]:
        yield "The target's schema, what is and what should be:"
        short = [{**one, **{end: _short(one[end]) for end in ("found", "expected")}} for one in found["differences"]]
        headings = {"table": "table", "item": "item", "found": "is", "expected": "should be"}
        yield Table.of(short, headings, texts=4)
    warnings = sum(one.severity == "warning" for one in report.findings)
    verdict = "clear" if report.clear else "NOT clear"
    yield f"preflight {verdict}: {len(report.errors)} errors, {warnings} warnings, in {report.seconds:.1f} s"
    yield f"Next: {found['next']}"


def finding_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Each finding: its code, its sentence, what to do."""
    for one in findings:
        yield f"  {one.severity} {one.code}: {one.message}"
        yield f"    do: {one.remedy}"


def _short(definition: str | None) -> str:
    """What fits into a table's cell; `--json` has it whole."""
    if definition is None:
        return "-"
    return definition if len(definition) <= _LONGEST_CELL else f"{definition[: _LONGEST_CELL - 3]}..."


def _as_role(one: Document) -> list[object]:
    writes = ", ".join(one["writes"]).lower() or "no"
    return [one["table"], one["reads"], writes, _SECURED[one["row_security"]], one["seen"], one["rows"]]


def preflight_document(report: PreflightReport, given: GivenOptions) -> Document:
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
