"""The command `botdata report`: writes a report of the move, and holds an earlier one against now."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.cli.options import AsJson, KeyRoleOk, Metadata, SourceSchema, SourceUrl, Tables, WithBaileys, again
from app.cli.progress import progress
from app.cli.render import Document, Words, document, show
from app.cli.work import Work
from app.errors import MigrationError, StoreError
from app.next_step import Command, NextStep

if TYPE_CHECKING:
    from app.migration.sources.source import Source
    from app.report.check import ReportChecked, SideChecked, TableChecked


Output = Annotated[
    Path | None,
    typer.Option("--output", help="Where to write it; one that ends in .json is the document alone.", dir_okay=False),
]
Check = Annotated[
    Path | None,
    typer.Option("--check", help="Compare this report with the rows as they are now.", dir_okay=False, exists=True),
]
Spoken = Annotated[
    Literal["en", "ru"] | None, typer.Option("--language", help="Of the page; else that of the environment.")
]
TargetOnly = Annotated[bool, typer.Option("--target-only", help="Do without the source: it may be gone.")]
Kept = Annotated[bool, typer.Option("--kept", help="Read no rows: show the hashes that the last report made.")]


def report(
    output: Output = None,
    check: Check = None,
    language: Spoken = None,
    target_only: TargetOnly = False,
    kept: Kept = False,
    tables: Tables = None,
    with_baileys: WithBaileys = False,
    key_role_ok: KeyRoleOk = False,
    source: SourceUrl = None,
    source_schema: SourceSchema = None,
    metadata: Metadata = None,
    as_json: AsJson = False,
) -> None:
    """Write a report of the move as one HTML file. Or compare an earlier one with the rows of today (--check).

    Hashes all rows of both sides, so it takes about as long as a verify. With --check the exit code is 0 only where
    every table of the report is unchanged.

    Example: botdata report --output report.html
    """
    prepare = partial(Work.prepare, "report", tables, with_baileys, key_role_ok, source, metadata, source_schema)
    if check is None:
        _write(output, language or spoken_here(), target_only, kept, prepare, as_json=as_json)
        return
    for name, given in (("--output", output), ("--language", language), ("--kept", kept), ("--tables", tables)):
        if given:
            raise typer.BadParameter("says how to write a report, and --check writes none", param_hint=name)
    _compare(check, target_only, prepare, as_json=as_json)


def spoken_here() -> Literal["en", "ru"]:
    """The language of the environment, of those that the page has."""
    set_to = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "ru" if set_to.lower().startswith("ru") else "en"


def write_report(facts: dict[str, Any], file: Path, language: Literal["en", "ru"]) -> None:
    """Write the page, or the document alone where the file's name ends so; an older one stays until it is whole.

    Raises:
        OSError: it cannot be written, and nothing of it is left.
    """
    import json

    from app.report.page import render

    text = json.dumps(facts) + "\n" if file.suffix.lower() == ".json" else render(facts, language)
    file = file.resolve()
    if file.exists() and not file.is_file():  # such as /dev/stdout
        file.write_text(text, encoding="utf-8")
        return
    unfinished = file.with_name(f"{file.name}.part")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(file)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _write(
    output: Path | None,
    language: Literal["en", "ru"],
    target_only: bool,
    kept: bool,
    prepare: Callable[..., Work],
    *,
    as_json: bool,
) -> None:
    from app.report.making import make_report

    work = prepare(needs_source=not (target_only or kept))
    file = output or Path(f"botdata-report-{datetime.now(UTC):%Y-%m-%d-%H%M%S}.html")
    if not os.access(file.parent, os.W_OK):
        raise typer.BadParameter(f"no file can be made in {file.parent}", param_hint="--output")

    async def make() -> dict[str, Any]:
        async with AsyncExitStack() as stack:
            bars = stack.enter_context(progress("report"))
            source = None
            if not (target_only or kept):
                source = await stack.enter_async_context(work.open_source(bars.notice))
            return await make_report(
                work.target, source, work.tables, bars, kept=kept, secrets=work.settings.secrets(work.source_url or "")
            )

    facts = work.carry_out(make)
    try:
        write_report(facts, file, language)
    except OSError as error:
        raise MigrationError(
            f"the report cannot be written to {file}: {error.strerror}",
            step="report",
            pending="the report; nothing but hashes was written",
            next_step=NextStep("make room, or name another file, then: ", work.given.complete(Command("report"))),
        ) from error
    following = f"botdata report --check {shlex.quote(str(file))}"
    found = document("report", ok=True, file=str(file.absolute()), report=facts, next=following)
    show(found, _words(found), as_json)


def _words(found: Document) -> Words:
    from app.report.texts import texts

    for point in found["report"]["open"]:
        told = texts("en")[f"point_{point['point']}"]
        yield "open: " + told.format(count=f"{point['count']:,}")
    yield f"report: {found['file']}"
    yield f"Next: {found['next']}, to see whether anything has changed since"


def _compare(file: Path, target_only: bool, prepare: Callable[..., Work], *, as_json: bool) -> None:
    from app.migration.tables.copy_table import name_of
    from app.report.check import check_report, read_report

    then = read_report(file)
    own = again(check=file, target_only=target_only)
    work = prepare(needs_source=not target_only, own=own)
    models = {name_of(table): table for table in work.metadata.tables.values()}

    async def compare() -> ReportChecked:
        async with AsyncExitStack() as stack:
            bars = stack.enter_context(progress("report"))
            source: Source | str | None = None
            if not target_only:
                try:
                    source = await stack.enter_async_context(work.open_source(bars.notice))
                except (MigrationError, StoreError) as error:
                    source = error.message if isinstance(error, MigrationError) else str(error)
            return await check_report(work.target, source, models, then, bars)

    checked = work.carry_out(compare)
    show(checked_document(checked, file), checked_words(checked), as_json)


_SHOWN = 20  # buckets


def checked_words(checked: ReportChecked) -> Words:
    """A line for each side of each table, and the verdict."""
    for table in checked.tables:
        for side, found in _sides(table):
            yield f"{table.table}, {side}: {_sentence(found)}"
        if not _sides(table):
            yield f"{table.table}: not checkable: the report has no hash of it that could be compared"
    verdicts = [table.verdict for table in checked.tables]
    said = ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts)) or "it has no tables"
    if checked.unchanged:
        yield f"all unchanged since {checked.made_at}: {said}"
    else:
        yield f"NOT all unchanged since {checked.made_at}: {said}"


def _sides(table: TableChecked) -> list[tuple[str, SideChecked]]:
    both = (("source", table.source), ("target", table.target))
    return [(side, found) for side, found in both if found is not None]


def _sentence(found: SideChecked) -> str:
    why = f": {found.why}" if found.why else ""
    if found.verdict != "changed" or found.rows_now is None:
        return f"{found.verdict}{why}" if why else f"{found.verdict}, {found.rows_then:,} rows"
    listed = [f"{one.bucket} ({one.rows_then:,} then, {one.rows_now:,} now)" for one in found.buckets[:_SHOWN]]
    more = f" and {len(found.buckets) - _SHOWN:,} more" if len(found.buckets) > _SHOWN else ""
    buckets = f"; rows by bucket: {', '.join(listed)}{more}" if listed else ""
    return f"changed since{why}: {found.rows_then:,} rows then, {found.rows_now:,} now{buckets}"


def checked_document(checked: ReportChecked, file: Path) -> Document:
    """The same for `--json`."""
    return document(
        "report",
        ok=checked.unchanged,
        file=str(file.absolute()),
        made_at=checked.made_at,
        tables=[
            {
                "table": one.table,
                "verdict": one.verdict,
                "source": asdict(one.source) if one.source else None,
                "target": asdict(one.target) if one.target else None,
            }
            for one in checked.tables
        ],
    )
