"""The command `botdata preflight`, and the same look that copy and migrate take first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated

import typer

from app.cli.options import (
    Accept,
    AsJson,
    By,
    GivenOptions,
    IgnoreColumn,
    KeyRoleOk,
    Metadata,
    SourceSchema,
    SourceUrl,
    Tables,
    WithBaileys,
    again,
)
from app.cli.render import Document, Table, Words, complain, document, say, say_words, show
from app.cli.work import Work
from app.errors import MigrationError
from app.migration.preflight.findings import Accepted, Finding, PreflightReport, unknown_codes

_TYPES_UNSEEN = {"source-types-unseen", "source-unreachable"}
_NAMED = 3  # errors whose sentences the stop repeats


def preflight(
    tables: Tables = None,
    with_baileys: WithBaileys = False,
    key_role_ok: KeyRoleOk = False,
    source: SourceUrl = None,
    source_schema: SourceSchema = None,
    metadata: Metadata = None,
    ignore_column: IgnoreColumn = None,
    accept: Accept = None,
    app_role: Annotated[
        str | None,
        typer.Option(
            "--app-role",
            help="The role of the application in the target: what it may read and write, and which rows it sees.",
            metavar="ROLE",
        ),
    ] = None,
    by: Annotated[
        By, typer.Option(help="How a sync is to find changes later: stream asks more of the source.")
    ] = By.XMIN,
    as_json: AsJson = False,
) -> None:
    """Look at both ends before a copy: schemas, data, servers. Writes nothing. Exit code 0 only without errors.

    Example: botdata preflight --with-baileys
    """
    work = Work.prepare(
        "preflight",
        tables,
        with_baileys,
        key_role_ok,
        source,
        metadata,
        source_schema,
        check_key=False,
        checks=again(ignore_column=ignore_column, accept=accept),
        own=again(app_role=app_role, by=by if by is By.STREAM else None),
    )
    if by is By.STREAM:
        work.require_stream("--by")
    accepted = accepted_of(ignore_column, accept)
    report = work.carry_out(
        lambda: examine(work, accepted, key_role_ok=key_role_ok, quick=False, upgrades=True, app_role=app_role)
    )
    if by is By.STREAM and not any(one.code.endswith("-unreachable") for one in report.errors):
        report = work.carry_out(lambda: _with_stream(work, report, accepted))
    found = preflight_document(report, work.given)
    show(found, preflight_words(report, found), as_json)


async def _with_stream(work: Work, report: PreflightReport, accepted: Accepted) -> PreflightReport:
    """The report with what the source lacks for a change stream."""
    from app.migration.preflight.run import FIRST_THE_ERRORS
    from app.migration.sources.postgres.postgres_source import PostgresSource
    from app.migration.stream.source.requirements import examine_stream

    async with work.open_source(complain) as source:
        assert isinstance(source, PostgresSource)
        missing = await examine_stream(source, work.target, work.tables)
    found = accepted.apply([*report.findings, *missing])
    settled = replace(report, findings=found)
    return settled if settled.clear or not report.clear else replace(settled, next_step=FIRST_THE_ERRORS)


def accepted_of(ignore_column: Sequence[str] | None, accept: Sequence[str] | None) -> Accepted:
    """What the owner said beforehand with these options."""
    if unknown := unknown_codes(accept or []):
        raise typer.BadParameter(f"no error that can be accepted: {', '.join(unknown)}", param_hint="--accept")
    return Accepted(frozenset(accept or []), frozenset(ignore_column or []))


async def stop_on_errors(work: Work, accepted: Accepted, *, key_role_ok: bool, upgrades: bool) -> bool:
    """Take the look before a copy; one line when nothing is in the way.

    An end that is not reached is left to the copy, which tries again and has the words for it.

    Args:
        upgrades: the command brings the target's schema to its newest revision itself.

    Returns:
        Whether types could not be seen, so that a copy may change values.

    Raises:
        MigrationError: errors were found, and printed; nothing was written.
    """
    async with work.paced(complain):
        await work.pace.ready()
        report = await examine(work, accepted, key_role_ok=key_role_ok, quick=True, upgrades=upgrades)
    errors = [one for one in report.errors if not one.code.endswith("-unreachable")]
    if not errors:
        warnings = [one for one in report.findings if one.severity == "warning"]
        say_words(finding_lines(warnings))
        said = "not all could be looked at" if report.errors else "nothing in the way"
        say(f"preflight: {said}, {len(warnings)} warnings, in {report.seconds:.1f} s")
        return are_types_unseen(report)
    say_words(finding_lines(errors))
    listed = "; ".join(f"{one.message} ({one.code})" for one in errors[:_NAMED])
    raise MigrationError(
        f"preflight found {len(errors)} error{'s' if len(errors) > 1 else ''}: {listed}"
        + ("; ..." if len(errors) > _NAMED else ""),
        step=work.command,
        table=errors[0].table if len(errors) == 1 else None,
        pending="everything; nothing was written",
        next_step=report.next_step,
    )


def are_types_unseen(report: PreflightReport) -> bool:
    """Whether a copy may change values, since the source's types could not be seen."""
    return any(one.code in _TYPES_UNSEEN for one in report.findings)


async def examine(
    work: Work,
    accepted: Accepted,
    *,
    key_role_ok: bool,
    quick: bool,
    upgrades: bool,
    app_role: str | None = None,
) -> PreflightReport:
    """Look at both ends of the work."""
    from app.migration.preflight.run import run_preflight
    from app.migration.preflight.schemas.target_schema import examine_against
    from app.migration.sources.opening import Supabase
    from app.models import Base
    from app.schema.plan import examine_against_revisions

    source = work.source_url or Supabase(*work.settings.require_supabase(), key_role_ok)
    if work.metadata is Base.metadata:
        examine_schema = examine_against_revisions(upgrades=upgrades)
    elif work.revisions is None:
        examine_schema = examine_against(work.tables)
    else:
        from app.schema.project import project_revisions  # Alembic, which takes a while to import

        examine_schema = examine_against(work.tables, project_revisions(work.revisions), upgrades=upgrades)
    return await run_preflight(
        source,
        work.target,
        work.tables,
        examine_schema,
        accepted=accepted,
        quick=quick,
        app_role=app_role,
        on_retry=complain,
    )


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
