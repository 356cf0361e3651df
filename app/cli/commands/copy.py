"""The command `botdata copy`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.commands.dry_run import try_copy
from app.cli.commands.preflight import TYPES_UNSEEN, Accept, IgnoreColumn, repeated, stop_on_errors
from app.cli.options import AsJson, KeyRoleOk, MaxRate, Metadata, SourceSchema, SourceUrl, Tables, WithBaileys
from app.cli.render import show
from app.cli.work import Work

if TYPE_CHECKING:
    from app.migration.copy.copier import CopyOptions
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
        checks=repeated(ignore_column, accept),
        own=own_options(overwrite=overwrite, jobs=jobs),
        max_rate=max_rate,
    )
    options = copy_options(work, overwrite=overwrite, restart=restart, max_quarantine=max_quarantine, jobs=jobs)
    codes = work.carry_out(
        lambda: stop_on_errors(
            work, key_role_ok=key_role_ok, ignore_column=ignore_column, accept=accept, upgrades=False
        )
    )
    if dry_run:
        try_copy(work, sample=sample, most_refused=max_quarantine, as_json=as_json)
        return
    report = run_copy(work, replace(options, types_unseen=not codes.isdisjoint(TYPES_UNSEEN)))
    found = copy_document(report, work.given)
    show(found, copy_words(report, found, work.given), as_json)


def own_options(*, overwrite: bool, jobs: int) -> list[str]:
    """A copy's own options as they are to be repeated; --restart is not, since the next copy is to go on."""
    return ["--overwrite"] * overwrite + [f"--jobs {jobs}"] * (jobs != JOBS)


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
    from app.cli.commands.notify.step_ends import copy_end
    from app.migration.copy.copier import copy as copy_tables

    return work.run(
        "copy",
        lambda source, bars: copy_tables(source, work.target, work.tables, bars, options),
        lambda report: copy_end(report, work.given),
    )
