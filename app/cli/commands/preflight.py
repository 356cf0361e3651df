"""The command `botdata preflight`, and the same look that copy and migrate take first."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import AsJson, By, KeyRoleOk, Metadata, SourceSchema, SourceUrl, Tables, WithBaileys
from app.cli.render import complain, say, say_words, show
from app.cli.work import Work
from app.errors import MigrationError

if TYPE_CHECKING:
    from app.migration.preflight.findings import Accepted, PreflightReport
    from app.migration.preflight.schemas.target_schema import Examine

TYPES_UNSEEN = frozenset({"source-types-unseen", "source-unreachable"})  # what says that a copy may change values
_NAMED = 3  # errors whose sentences the stop repeats

IgnoreColumn = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore-column",
        help="A column of the source whose data is not needed.",
        metavar="TABLE.COLUMN",
        show_default=False,
    ),
]
Accept = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        help="An error of preflight known to be harmless.",
        metavar="CODE[:TABLE[.COLUMN]]",
        show_default=False,
    ),
]


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
    from app.cli.reports.preflight_report import preflight_document, preflight_words

    work = Work.prepare(
        "preflight",
        tables,
        with_baileys,
        key_role_ok,
        source,
        metadata,
        source_schema,
        check_key=False,
        checks=repeated(ignore_column, accept),
        own=[
            *([] if app_role is None else [f"--app-role {shlex.quote(app_role)}"]),
            *["--by stream"] * (by is By.STREAM),
        ],
    )
    if by is By.STREAM:
        work.require_stream("--by")
    report = work.carry_out(
        lambda: examine(
            work, key_role_ok, ignore_column or [], accept or [], quick=False, upgrades=True, app_role=app_role
        )
    )
    if by is By.STREAM and not any(one.code.endswith("-unreachable") for one in report.errors):
        report = work.carry_out(lambda: _with_stream(work, report, accepted_of(ignore_column, accept)))
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


def repeated(ignore_column: Sequence[str] | None, accept: Sequence[str] | None) -> list[str]:
    """The options as they are to be repeated in the next command."""
    return [
        f"{option} {shlex.quote(one)}"
        for option, given in (("--ignore-column", ignore_column), ("--accept", accept))
        for one in given or ()
    ]


def accepted_of(ignore_column: Sequence[str] | None, accept: Sequence[str] | None) -> Accepted:
    """What the owner said beforehand with these options."""
    from app.migration.preflight.findings import Accepted, unknown_codes

    if unknown := unknown_codes(accept or []):
        raise typer.BadParameter(f"no error that can be accepted: {', '.join(unknown)}", param_hint="--accept")
    return Accepted(frozenset(accept or []), frozenset(ignore_column or []))


async def stop_on_errors(
    work: Work,
    *,
    key_role_ok: bool,
    ignore_column: Sequence[str] | None,
    accept: Sequence[str] | None,
    upgrades: bool,
) -> frozenset[str]:
    """Take the look before a copy; one line when nothing is in the way.

    An end that is not reached is left to the copy, which tries again and has the words for it.

    Args:
        upgrades: the command brings the target's schema to its newest revision itself.

    Returns:
        The codes of what was found, and is no error.

    Raises:
        MigrationError: errors were found, and printed; nothing was written.
    """
    from app.cli.reports.preflight_report import finding_lines

    async with work.paced(complain):
        await work.pace.ready()
        report = await examine(work, key_role_ok, ignore_column or [], accept or [], quick=True, upgrades=upgrades)
    errors = [one for one in report.errors if not one.code.endswith("-unreachable")]
    if not errors:
        warnings = [one for one in report.findings if one.severity == "warning"]
        say_words(finding_lines(warnings))
        said = "not all could be looked at" if report.errors else "nothing in the way"
        say(f"preflight: {said}, {len(warnings)} warnings, in {report.seconds:.1f} s")
        return frozenset(one.code for one in report.findings)
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


async def examine(
    work: Work,
    key_role_ok: bool,
    ignore_column: Sequence[str],
    accept: Sequence[str],
    *,
    quick: bool,
    upgrades: bool,
    app_role: str | None = None,
) -> PreflightReport:
    from app.migration.preflight.opening import Supabase
    from app.migration.preflight.run import run_preflight
    from app.migration.preflight.schemas.target_schema import examine_against
    from app.models import Base
    from app.schema.state import ExamineSchema

    accepted = accepted_of(ignore_column, accept)
    source: Supabase | str
    if work.source_url is not None:
        source = work.source_url
    else:
        url, key = work.settings.require_supabase()
        source = Supabase(url, key, key_role_ok)
    if work.metadata is Base.metadata:
        examine_schema: Examine = ExamineSchema(upgrades=upgrades)
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
