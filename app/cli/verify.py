"""The command `botdata verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from app.cli.work import AsJson, KeyRoleOk, Metadata, ShowValues, SourceUrl, Tables, WithBaileys, Work

if TYPE_CHECKING:
    from app.migration.report import VerifyReport
    from app.migration.source import Source


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command()(verify)


def verify(
    tables: Tables = None,
    with_baileys: WithBaileys = False,
    key_role_ok: KeyRoleOk = False,
    source: SourceUrl = None,
    metadata: Metadata = None,
    show_values: ShowValues = False,
    as_json: AsJson = False,
) -> None:
    """Compare every row of every table, as text, to the digit. Exit code 0 only when there is no difference.

    Example: botdata verify --show-values
    """
    from app.cli.output import show_json
    from app.cli.verify_report import show_verify, verify_document

    work = Work.prepare("verify", tables, with_baileys, key_role_ok, source, metadata)
    report = run_verify(work)
    if as_json:
        show_json(verify_document(report, flags=work.flags))
    else:
        show_verify(report, flags=work.flags, show_values=show_values)
    if not report.clean:
        raise typer.Exit(1)


def run_verify(work: Work) -> VerifyReport:
    """Verify, with progress on standard error."""
    from app.cli.output import progress
    from app.migration.verify import verify as verify_tables

    with progress("verify") as bars:

        async def run(source: Source) -> VerifyReport:
            return await verify_tables(source, work.target, work.tables, bars)

        return work.run(run, bars.notice)
