"""The commands of the move: upgrade, copy, verify, migrate, uninstall."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.work import KeyRoleOk, Metadata, ShowValues, SourceUrl, Tables, WithBaileys, Work

if TYPE_CHECKING:
    from app.migration.copy import CopyOptions
    from app.migration.report import CopyReport, VerifyReport
    from app.migration.source import Source
    from app.settings import Settings

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace rows of the target that no copy put there.")]


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    for command in (migrate, upgrade, copy, verify, uninstall):
        cli.command()(command)


def migrate(
    tables: Tables = None,
    with_baileys: WithBaileys = False,
    overwrite: Overwrite = False,
    key_role_ok: KeyRoleOk = False,
    source: SourceUrl = None,
    metadata: Metadata = None,
    show_values: ShowValues = False,
) -> None:
    """The whole move: upgrade the target's schema, copy every row, verify every row.

    Example: botdata migrate --with-baileys
    """
    from app.migration.copy import CopyOptions, refuse_target_in_use

    work = Work.prepare("migrate", tables, with_baileys, key_role_ok, source, metadata)
    options = CopyOptions(overwrite=overwrite, target_in_use=work.settings.flags.use_repository_pattern)
    refuse_target_in_use(options)
    if metadata is None:  # the revisions are the bot's own
        _upgrade(work.settings, "head")
    report = _copy(work, options)
    if any(table.done_before for table in report.tables):
        report = _copy(work, options)  # tables done before the stop may have changed since
    _verify(work, show_values=show_values, as_json=False)
    if not report.complete:
        raise typer.Exit(1)


def upgrade(revision: Annotated[str, typer.Argument(help="The revision to reach.")] = "head") -> None:
    """Upgrade the target's schema, in one transaction.

    Example: botdata upgrade
    """
    from app.cli.output import say
    from app.settings import load_settings

    _upgrade(load_settings(), revision)
    say("Next: botdata copy")


def _upgrade(settings: Settings, revision: str) -> None:
    from app import revisions
    from app.cli.output import say

    done = revisions.upgrade(settings.require_database_url(), revision)
    for notice in done.notices:
        say(f"{'warning: ' if notice.warning else ''}{notice.text}")
    if done.before == done.after:
        say(f"schema: already at {done.after or 'no revision'}")
    else:
        say(f"schema: upgraded from {done.before or 'nothing'} to {done.after}")


def copy(
    tables: Tables = None,
    with_baileys: WithBaileys = False,
    overwrite: Overwrite = False,
    key_role_ok: KeyRoleOk = False,
    source: SourceUrl = None,
    metadata: Metadata = None,
    max_quarantine: Annotated[int, typer.Option(help="Refused rows past which the copy stops.", min=0)] = 1000,
) -> None:
    """Copy every row from Supabase; a copy that was stopped goes on where it was.

    Example: botdata copy --tables clients,bookings
    """
    from app.migration.copy import CopyOptions

    work = Work.prepare("copy", tables, with_baileys, key_role_ok, source, metadata)
    in_use = work.settings.flags.use_repository_pattern
    report = _copy(work, CopyOptions(overwrite=overwrite, target_in_use=in_use, most_refused=max_quarantine))
    if not report.complete:
        raise typer.Exit(1)


def _copy(work: Work, options: CopyOptions) -> CopyReport:
    from app.cli.output import progress
    from app.cli.reports import show_copy
    from app.migration.copy import copy as copy_tables

    with progress("copy") as bars:

        async def run(source: Source) -> CopyReport:
            return await copy_tables(source, work.target, work.tables, bars, options)

        report = work.run(run, bars.notice)
    show_copy(report, flags=work.flags)
    return report


def verify(
    tables: Tables = None,
    with_baileys: WithBaileys = False,
    key_role_ok: KeyRoleOk = False,
    source: SourceUrl = None,
    metadata: Metadata = None,
    show_values: ShowValues = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document with all differences and values.")] = False,
) -> None:
    """Compare every row of every table, as text, to the digit. Exit code 0 only when there is no difference.

    Example: botdata verify --show-values
    """
    work = Work.prepare("verify", tables, with_baileys, key_role_ok, source, metadata)
    _verify(work, show_values=show_values, as_json=as_json)


def _verify(work: Work, *, show_values: bool, as_json: bool) -> None:
    from app.cli.output import progress, show_json
    from app.cli.reports import show_verify, verify_document
    from app.migration.verify import verify as verify_tables

    with progress("verify") as bars:

        async def run(source: Source) -> VerifyReport:
            return await verify_tables(source, work.target, work.tables, bars)

        report = work.run(run, bars.notice)
    if as_json:
        show_json(verify_document(report))
    else:
        show_verify(report, flags=work.flags, show_values=show_values)
    if not report.clean:
        raise typer.Exit(1)


def uninstall(
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
) -> None:
    """Drop the tool's own schema `botdata` from the target: runs, checkpoints, quarantine. Your tables stay.

    Example: botdata uninstall --yes
    """
    from app.cli.output import say
    from app.database_url import shown_url
    from app.migration.target import explained, open_target
    from app.migration.tool_schema import drop_tool_schema
    from app.settings import load_settings

    target = load_settings().require_database_url()
    if not yes:
        say("The next copy will not know the rows that earlier ones put there, and asks for --overwrite.")
        typer.confirm(f"Drop schema botdata, with the rows in quarantine, from {shown_url(target)}?", abort=True)

    async def work() -> bool:
        async with open_target(target, step="uninstall", exclusive=True) as connection:
            with explained("uninstall"):
                return await drop_tool_schema(connection)

    say("schema botdata: dropped" if asyncio.run(work()) else "schema botdata: there was none")
