"""The commands `botdata quarantine ...`: rows that the target refused, seen, mended and loaded again."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import AsJson, GivenOptions, Metadata, Tables, again, names_in
from app.cli.project import models_of
from app.cli.render import document
from app.cli.render import show as show_found
from app.cli.running import carry_out, load_settings, run_async

_LAST_NUMBER = 2**63 - 1


def list_rows(
    tables: Tables = None,
    limit: Annotated[int, typer.Option(help="Rows to list, at most.", min=0)] = 50,
    metadata: Metadata = None,
    as_json: AsJson = False,
) -> None:
    """List the rows in quarantine, with the reasons. No values; phone numbers in keys are masked.

    Example: botdata quarantine list --tables clients
    """
    from app.cli.reports import quarantine_report as report
    from app.migration.quarantine.quarantined_rows import list_quarantine
    from app.migration.tables.metadata import load_metadata

    names, given = _chosen("quarantine list", tables, metadata)
    listed = run_async(list_quarantine(_target(), load_metadata(models_of(metadata)), tables=names, limit=limit))
    found = report.list_document(listed)
    show_found(found, report.list_words(found, given), as_json)


def show(
    number: Annotated[int, typer.Argument(help="The row's number.", min=1, max=_LAST_NUMBER)],
    as_json: AsJson = False,
) -> None:
    """Show one row with every value, and what PostgreSQL said of it.

    Example: botdata quarantine show 17
    """
    from app.cli.reports import quarantine_report as report
    from app.migration.quarantine.quarantined_rows import show_quarantined

    shown = carry_out(show_quarantined(_target(), number), GivenOptions("quarantine show", own=(str(number),)))
    found = report.row_document(shown)
    show_found(found, report.row_words(found), as_json)


def replay(
    numbers: Annotated[
        list[int] | None, typer.Argument(help="Numbers of rows; all rows without.", min=1, max=_LAST_NUMBER)
    ] = None,
    tables: Tables = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace rows too that were written later than these were refused.")
    ] = False,
    metadata: Metadata = None,
    as_json: AsJson = False,
) -> None:
    """Load rows from quarantine as they are kept, or were edited. Exit code 0 only when all of them went in.

    What has changed at the source since is not seen: a copy or a sync reads it anew.

    Example: botdata quarantine replay 17 18
    """

    from app.cli.reports import quarantine_report as report
    from app.migration.quarantine.replay import replay as replay_rows
    from app.migration.tables.metadata import load_metadata

    names, given = _chosen("quarantine replay", tables, metadata)
    given = replace(given, own=(*map(str, numbers or []), *["--overwrite"] * overwrite))
    settings, described = load_settings(), load_metadata(models_of(metadata))
    replayed = carry_out(
        replay_rows(
            settings.require_database_url(),
            described,
            numbers=numbers or None,
            tables=names,
            overwrite=overwrite,
            target_in_use=settings.flags.use_repository_pattern,
        ),
        given,
    )
    found = report.replay_document(replayed)
    show_found(found, report.replay_words(replayed, found, given), as_json)


def export(
    file: Annotated[Path, typer.Argument(help="The file to make; only you may read it.", dir_okay=False)],
    tables: Tables = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    metadata: Metadata = None,
    as_json: AsJson = False,
) -> None:
    """Write the rows in quarantine to a file to be edited: JSON Lines, a row a line, with every value.

    Example: botdata quarantine export refused.json
    """
    from app.migration.quarantine.quarantine_file import export_rows
    from app.migration.tables.metadata import load_metadata

    names, given = _chosen("quarantine export", tables, metadata)
    exporting = export_rows(_target(), load_metadata(models_of(metadata)), file, tables=names, force=force)
    rows = carry_out(exporting, replace(given, own=(shlex.quote(str(file)), *again(force=force))))
    words = [
        f"{rows:,} rows written to {file}; it holds every value, and only you may read it",
        f"Next: edit the values under row; botdata quarantine import {shlex.quote(str(file))}",
    ]
    found = document("quarantine export", ok=True, rows=rows, file=str(file) if rows else None)
    show_found(found, words if rows else ["quarantine: empty; no file was made"], as_json)


def import_file(
    file: Annotated[Path, typer.Argument(help="An edited export.", exists=True, dir_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Put edited rows back into quarantine. All, or none where one cannot be taken; values may change, keys may not.

    Example: botdata quarantine import refused.json
    """
    from app.migration.quarantine.quarantine_file import import_rows

    done = carry_out(import_rows(_target(), file), GivenOptions("quarantine import", own=(shlex.quote(str(file)),)))
    words = [f"{len(done.changed):,} rows changed, {len(done.unchanged):,} the same as before"]
    words += ["Next: botdata quarantine replay"] if done.changed else []
    changed, unchanged = list(done.changed), list(done.unchanged)
    show_found(document("quarantine import", ok=True, changed=changed, unchanged=unchanged), words, as_json)


def _target() -> str:
    return load_settings().require_database_url()


def _chosen(command: str, tables: str | None, metadata: str | None) -> tuple[list[str] | None, GivenOptions]:
    """The tables named, and the options to repeat in the next command."""
    names = None if tables is None else names_in(tables)
    if names == []:
        raise typer.BadParameter("no table is named", param_hint="--tables")
    chosen = again(tables=None if names is None else ",".join(names))
    return names, GivenOptions(command, tuple(chosen), tuple(again(metadata=metadata)))
