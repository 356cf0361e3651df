"""The command `botdata verify`."""

from typing import Annotated

import typer

from app.cli.options import (
    AsJson,
    KeyRoleOk,
    MaxRate,
    Metadata,
    ShowValues,
    SourceSchema,
    SourceUrl,
    Tables,
    WithBaileys,
)
from app.cli.render import show
from app.cli.work import Work

Fix = Annotated[bool, typer.Option("--fix", help="Copy rows that are missing or different again.")]
Sample = Annotated[
    int | None, typer.Option("--sample", help="Only so many rows of each table, picked at random.", min=1, metavar="N")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="With --fix: although the flag says that the bot uses PostgreSQL.")
]


def verify(
    tables: Tables = None,
    with_baileys: WithBaileys = False,
    fix: Fix = False,
    sample: Sample = None,
    overwrite: Overwrite = False,
    max_rate: MaxRate = None,
    key_role_ok: KeyRoleOk = False,
    source: SourceUrl = None,
    source_schema: SourceSchema = None,
    metadata: Metadata = None,
    show_values: ShowValues = False,
    as_json: AsJson = False,
) -> None:
    """Compare every row of every table, as text, to the digit. Exit code 0 only when there is no difference.

    Example: botdata verify --show-values
    """
    from app.cli.reports.verify_report import verify_document, verify_end, verify_words
    from app.migration.verify.options import VerifyOptions
    from app.migration.verify.verifier import verify as verify_tables

    if fix and sample is not None:
        raise typer.BadParameter("a sample would leave most differences as they are", param_hint="--fix with --sample")
    command = "verify --fix" if fix else "verify"
    work = Work.prepare(command, tables, with_baileys, key_role_ok, source, metadata, source_schema, max_rate=max_rate)
    in_use = work.settings.flags.use_repository_pattern
    options = VerifyOptions(fix=fix, sample=sample, overwrite=overwrite, target_in_use=in_use)
    report = work.run(
        "verify",
        lambda source, bars: verify_tables(source, work.target, work.tables, bars, options),
        lambda report: verify_end(report, work.given),
    )
    found = verify_document(report, work.given)
    show(found, verify_words(report, found, work.given, show_values=show_values), as_json)
