"""The command `botdata copy`, and what `--dry-run` does and says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.commands.preflight import accepted_of, stop_on_errors
from app.cli.options import (
    Accept,
    AsJson,
    GivenOptions,
    IgnoreColumn,
    KeyRoleOk,
    MaxRate,
    Metadata,
    SourceSchema,
    SourceUrl,
    Tables,
    WithBaileys,
    again,
)
from app.cli.render import SHOWN, Document, Table, Words, document, reason, show
from app.cli.work import Work

if TYPE_CHECKING:
    from app.migration.copy.copier import CopyOptions
    from app.migration.copy.dry_run import DryRunReport
    from app.migration.runs.report import CopyReport


JOBS = 2

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace rows of the target that no copy put there.")]

Restart = Annotated[bool, typer.Option("--restart", help="Begin again, although an unfinished copy could go on.")]
MaxQuarantine = Annotated[int, typer.Option(help="Refused rows past which the copy stops.", min=0)]
Jobs = Annotated[
    int,
    typer.Option(help="Over a database connection: tables and key ranges at a time, each on two connections.", min=1),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Load the rows into temporary tables only, and tell what would be refused."),
]
Sample = Annotated[
    int | None,
    typer.Option("--sample", help="With --dry-run: only so many rows of each table, picked at random.", min=1),
]


def copy(
    tables: Tables = None,
    with_baileys: WithBaileys = False,
    overwrite: Overwrite = False,
    restart: Restart = False,
    key_role_ok: KeyRoleOk = False,
    source: SourceUrl = None,
    source_schema: SourceSchema = None,
    metadata: Metadata = None,
    ignore_column: IgnoreColumn = None,
    accept: Accept = None,
    max_quarantine: MaxQuarantine = 1000,
    jobs: Jobs = JOBS,
    max_rate: MaxRate = None,
    dry_run: DryRun = False,
    sample: Sample = None,
    as_json: AsJson = False,
) -> None:
    """Copy every row from the source. A copy that was stopped goes on where it was.

    Example: botdata copy --tables clients,bookings
    """
    from app.cli.reports.copy_report import copy_document, copy_words

    if sample is not None and not dry_run:
        raise typer.BadParameter("it goes with --dry-run only", param_hint="--sample")
    work = Work.prepare(
        "copy --dry-run" if dry_run else "copy",
        tables,
        with_baileys,
        key_role_ok,
        source,
        metadata,
        source_schema,
        checks=again(ignore_column=ignore_column, accept=accept),
        own=own_options(overwrite=overwrite, jobs=jobs),
        max_rate=max_rate,
    )
    options = copy_options(work, overwrite=overwrite, restart=restart, max_quarantine=max_quarantine, jobs=jobs)
    accepted = accepted_of(ignore_column, accept)
    types_unseen = work.carry_out(lambda: stop_on_errors(work, accepted, key_role_ok=key_role_ok, upgrades=False))
    if dry_run:
        try_copy(work, sample=sample, most_refused=max_quarantine, as_json=as_json)
        return
    report = run_copy(work, replace(options, types_unseen=types_unseen))
    found = copy_document(report, work.given)
    show(found, copy_words(report, found, work.given), as_json)


def own_options(*, overwrite: bool, jobs: int) -> list[str]:
    """A copy's own options as they are to be again; --restart is not, since the next copy is to go on."""
    return again(overwrite=overwrite, jobs=None if jobs == JOBS else jobs)


def copy_options(work: Work, *, overwrite: bool, restart: bool, max_quarantine: int, jobs: int) -> CopyOptions:
    """What the command line and the settings say of a copy, for the engine."""
    from app.migration.copy.copier import CopyOptions
    from app.migration.copy.range_copier import RangeOptions

    return CopyOptions(
        overwrite=overwrite,
        target_in_use=work.settings.flags.use_repository_pattern,
        most_refused=max_quarantine,
        restart=restart,
        ranges=RangeOptions(jobs=jobs),
    )


def run_copy(work: Work, options: CopyOptions) -> CopyReport:
    """Copy, with progress on standard error."""
    from app.cli.reports.copy_report import copy_end
    from app.migration.copy.copier import copy as copy_tables

    return work.run(
        "copy",
        lambda source, bars: copy_tables(source, work.target, work.tables, bars, options),
        lambda report: copy_end(report, work.given),
    )


def try_copy(work: Work, *, sample: int | None, most_refused: int, as_json: bool) -> None:
    """Copy for trial; exit code 1 where something would be refused.

    Args:
        most_refused: what the copy itself would be told by --max-quarantine.
    """
    from app.migration.copy.dry_run import dry_run

    report = work.run("dry run", lambda source, bars: dry_run(source, work.target, work.tables, bars, sample=sample))
    found = dry_run_document(report)
    show(found, dry_run_words(report, found, work.given, most_refused=most_refused), as_json)


def dry_run_words(report: DryRunReport, found: Document, given: GivenOptions, *, most_refused: int) -> Words:
    """Counts a table, what would be refused and why, what the real run needs, and what was not checked."""
    from app.cli.reports.leftovers_report import not_moved_lines, not_moved_next

    yield Table(
        ["table", "source", "tried", "refused", "seconds for all", "MB for all"],
        [
            [
                one["table"],
                one["source_rows"],
                one["tried"],
                sum(refused["rows"] for refused in one["refused"]),
                f"{one['expected_seconds']:,.1f}",
                _megabytes(one["expected_bytes"]),
            ]
            for one in found["tables"]
        ],
        numbers=range(1, 6),
    )
    for table in found["tables"]:
        for refused in table["refused"]:
            keys = [", ".join(one["key"]) for one in table["examples"] if reason(one) == reason(refused)]
            more = "; ..." if refused["rows"] > len(keys) else ""
            shown = f": {'; '.join(keys[:SHOWN])}{more}" if keys else ""
            yield f"would be refused: {refused['rows']:,} rows of {table['table']}: {reason(refused)}{shown}"
    tried = sum(table.tried for table in report.tables)
    refused_rows = sum(table.refused.total() for table in report.tables)
    if report.sample is not None:
        yield f"This was a sample: at most {report.sample:,} rows of each table, picked at random over all keys."
    time, size = _duration(found["expected_seconds"]), _megabytes(found["expected_bytes"])
    yield f"The copy should take about {time} at most, and {size} MB on the target's disk."
    yield from not_moved_lines(found, "tried")
    yield f"Not checked: {'; '.join(found['not_checked'])}."
    if report.clean:
        yield f"dry run: {tried:,} rows tried, none would be refused. Next: {given.command_text('copy')}"
        return
    yield f"dry run: {tried:,} rows tried, {refused_rows:,} would be refused"
    if report.not_moved and not refused_rows:
        yield f"Next: {given.text(not_moved_next(report.not_moved, 'copy --dry-run'))}"
        return
    if refused_rows > most_refused:
        yield f"That is more than --max-quarantine ({most_refused:,}): the copy would stop. Compare the two schemas."
    yield f"Next: mend the rows at the source, or the target's schema, then: {given.command_text('copy --dry-run')}"
    yield f"or let the copy put them into quarantine: {given.command_text('copy')}"


def dry_run_document(report: DryRunReport) -> Document:
    """The dry run for `--json`."""
    from app.cli.reports.leftovers_report import not_moved_list, refused_list
    from app.migration.copy.dry_run import UNCHECKED

    return document(
        "copy",
        ok=report.clean,
        dry_run=True,
        sample=report.sample,
        seconds=round(report.seconds, 3),
        expected_seconds=round(sum(table.expected_seconds for table in report.tables), 3),
        expected_bytes=sum(table.expected_bytes for table in report.tables),
        not_checked=list(UNCHECKED),
        tables=[
            {
                "table": table.table,
                "source_rows": table.rows,
                "tried": table.tried,
                "refused": [
                    {"sqlstate": sqlstate, "place": place, "rows": rows}
                    for (sqlstate, place), rows in table.refused.most_common()
                ],
                "examples": refused_list(table.examples),
                "expected_seconds": round(table.expected_seconds, 3),
                "expected_bytes": table.expected_bytes,
            }
            for table in report.tables
        ],
        not_moved=not_moved_list(report.not_moved),
    )


def _megabytes(size: float) -> str:
    return f"{size / 1_000_000:,.1f}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.1f} s" if seconds < 120 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
