"""The commands `botdata schema move-out`, `move-in` and `drop`: one salon leaves a server, or comes to it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from app.cli.options import AsJson
from app.cli.progress import progress
from app.cli.render import Document, Words, document, show
from app.cli.running import load_settings, run_async
from app.common.schemas import address_in, trouble_with_target
from app.errors import MigrationError
from app.next_step import Command, NextStep

if TYPE_CHECKING:
    from app.relocation.archive import Archive, Manifest
    from app.relocation.moving_out import Leaving, MovedOut

_OUT, _IN, _DROP = "schema move-out", "schema move-in", "schema drop"
_Answer = TypeVar("_Answer")
Name = Annotated[str, typer.Argument(help="The salon's schema in DATABASE_URL.", metavar="NAME")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done, and what speaks against it.")]


def move_out(
    name: Name,
    to: Annotated[
        Path | None,
        typer.Option(help="The archive to write; never one that is there.", show_default="botdata-NAME-TIME.zip"),
    ] = None,
    leave: Annotated[
        list[str] | None,
        typer.Option(
            "--leave",
            help="An object of your own that stays behind, as it is named.",
            metavar="OBJECT",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="It was moved in nowhere: let it live here again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Archive one salon for another server: rows, revision and the cutover's state. From then on it is not served here.

    Example: botdata schema move-out t1 --to /var/backups/t1.zip
    """
    from app.relocation import moving_out

    url = _address(name)
    if cancel:
        if to is not None or leave or dry_run:
            raise typer.BadParameter("goes with no other option", param_hint="--cancel")
        was_out = _carry_out(name, moving_out.cancel(url))
        words = [f"{name}: it lives here again" if was_out else f"{name}: it had not moved out; nothing was changed"]
        show(document(_OUT, ok=True, **{**_out_fields(name), "cancelled": was_out}), words, as_json, beside=True)
        return
    leaving = _carry_out(name, moving_out.look(url))
    left = frozenset(leave or ())
    if unknown := sorted(left - set(leaving.catalog.own)):
        raise typer.BadParameter(f"there is none such: {', '.join(unknown)}", param_hint="--leave")
    if dry_run:
        _try(name, leaving, left, as_json)
        return
    path = to or Path(f"botdata-{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.zip")

    async def archive() -> MovedOut:
        with progress("move-out") as bars:
            return await moving_out.move_out(url, leaving, path, left, bars)

    done = _carry_out(name, archive())
    following = f"botdata {_IN} {shlex.quote(path.name)}"
    found = document(_OUT, ok=True, **{**_out_fields(name, leaving, done), "next": following})
    show(found, _out_words(found, done), as_json)


def _out_words(found: Document, done: MovedOut) -> Words:
    yield f"{found['schema']}: {_rows(found)} rows in {done.path}, {found['bytes']:,} bytes of personal data"
    yield from _left_lines(done.manifest)
    if done.processes:
        yield f"These answer unavailable until they are started with the new DATABASE_URL: {', '.join(done.processes)}"
    yield f"Next: bring the archive to the new server, then there: {found['next']}"
    yield f"If it does not come to that: botdata {_OUT} {found['schema']} --cancel"


def move_in(
    file: Annotated[Path, typer.Argument(help="The archive.", metavar="FILE")],
    name: Annotated[
        str | None,
        typer.Option("--as", help="The schema to make.", metavar="NAME", show_default="the one that it had"),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Restore an archive into DATABASE_URL: all of it, read back as text, or nothing.

    Example: botdata schema move-in t1.zip --as salon_17
    """
    from app.relocation import moving_in
    from app.relocation.archive import Archive
    from app.stores.postgres.session import refuse_transaction_pooler

    target = load_settings().require_database_url()
    run_async(refuse_transaction_pooler(target, setting="DATABASE_URL", step=_IN))  # before a long look at the file
    again = shlex.quote(str(file)) + ("" if name is None else f" --as {name}")
    archive = _completed(name or "NAME", lambda: Archive(file, step=_IN), again)
    name = name or archive.manifest.schema
    url = _address(name, param_hint="--as")
    _carry_out(name, moving_in.look(url, archive), again)
    if dry_run:
        of = f"{archive.manifest.schema}, of {archive.manifest.made_at}"
        found = document(_IN, ok=True, **_in_fields(name, archive), moved_in=False, receipt=None, next=None)
        show(found, [f"{name}: the archive of {of}, is whole and can be moved in"], as_json)
        return

    async def restore() -> None:
        with progress("move-in") as bars:
            await moving_in.move_in(url, archive, bars)

    _carry_out(name, restore(), again)
    manifest = archive.manifest
    drop_there = f"botdata {_DROP} {manifest.schema} --moved-in {manifest.receipt}"
    fields = _in_fields(name, archive)
    found = document(_IN, ok=True, **fields, moved_in=True, receipt=manifest.receipt, next=drop_there)
    show(found, _in_words(found, manifest), as_json)


def _in_words(found: Document, manifest: Manifest) -> Words:
    yield f"{found['schema']}: {_rows(found)} rows at revision {manifest.revision}, each read back and the same text"
    yield f"The stage is {manifest.stage}."
    yield from _left_lines(manifest)
    yield "Next: start the bot here; when it is well, at the old place:"
    yield f"  {found['next']}"


def drop(
    name: Name,
    moved_in: Annotated[
        str | None,
        typer.Option("--moved-in", help="The receipt that move-in gave.", metavar="RECEIPT", show_default=False),
    ] = None,
    yes_drop: Annotated[
        str | None,
        typer.Option("--yes-drop", help="The name once more: it is lost.", metavar="NAME", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Drop one salon, with what the tool knows of it: one that has moved, by the receipt of its new place.

    Example: botdata schema drop t1 --moved-in 5f3c0a9d12be
    """
    from app.relocation import dropping

    url = _address(name)
    if yes_drop not in {None, name}:
        raise typer.BadParameter(f"{yes_drop} is not {name}", param_hint="--yes-drop")
    relations = _carry_out(name, dropping.drop(url, receipt=moved_in, confirmed=yes_drop))
    words = [f"{name}: dropped, {relations} relations with the tool's own"]
    show(document(_DROP, ok=True, schema=name, relations=relations), words, as_json)


def _address(name: str, param_hint: str = "NAME") -> str:
    """DATABASE_URL with this schema."""

    settings = load_settings()
    trouble = None if name == "public" else trouble_with_target(name)
    if settings.schema_of_target not in {"public", name}:
        trouble = f"is not DATABASE_SCHEMA, which is {settings.schema_of_target}"
    if trouble is not None:
        raise typer.BadParameter(f"{name} {trouble}", param_hint=param_hint)
    return address_in(settings.require_database_url(), name)


def _carry_out(name: str, work: Coroutine[Any, Any, _Answer], archive: str = "") -> _Answer:
    return _completed(name, lambda: run_async(work), archive)


def _completed(name: str, work: Callable[[], _Answer], archive: str = "") -> _Answer:
    """The next commands of errors get the salon's name, and the file's; those of other groups are told its setting.

    Args:
        archive: the file, and the name that it is to be moved in as where one was given.
    """

    def complete(command: Command) -> Command:
        options = re.sub(r"\bNAME\b", name, command.options)
        options = options.replace("FILE", archive.partition(" --as ")[0] if "--as" in options else archive)
        if command.name == _OUT and name not in options.split():  # of a step that knows no salon
            options = f"{name} {options}".strip()
        return Command(command.name, options)

    try:
        return work()
    except MigrationError as error:
        if error.next_step is not None:
            step = error.next_step.with_options(complete)
            others = any(isinstance(part, Command) and not part.name.startswith("schema ") for part in step)
            if others and load_settings().schema_of_target != name:
                step = NextStep(*step, f" (with DATABASE_SCHEMA={name})")
            error.next_step = step
        raise


def _try(name: str, leaving: Leaving, left: frozenset[str], as_json: bool) -> None:
    """Say what moving out would do; exit code 1 where something speaks against it."""
    from app.relocation.moving_out import refuse

    _completed(name, lambda: refuse(leaving, left))
    found = document(_OUT, ok=True, **{**_out_fields(name, leaving), "next": f"botdata {_OUT} {name}"})
    words = [
        f"{name}: about {sum(leaving.rows.values()):,} rows at revision {leaving.revision}",
        f"The stage is {leaving.row.stage}.",
        f"Nothing was changed. Next: {found['next']}",
    ]
    show(found, words, as_json)


def _left_lines(manifest: Manifest) -> Words:
    if manifest.left:
        yield f"Left behind: {', '.join(manifest.left)}"
    if manifest.grants:
        yield f"Grants are not brought along; make them anew: {', '.join(manifest.grants)}"


def _rows(found: Document) -> str:
    return f"{sum(table['rows'] for table in found['tables']):,}"


def _out_fields(name: str, leaving: Leaving | None = None, done: MovedOut | None = None) -> dict[str, Any]:
    manifest = done.manifest if done else None
    return {
        "schema": name,
        "moved_out": done is not None,
        "cancelled": False,
        "revision": leaving.revision if leaving else None,
        "stage": str(leaving.row.stage) if leaving else None,
        "file": str(done.path) if done else None,
        "bytes": done.path.stat().st_size if done else None,
        "checksum": manifest.checksum if manifest else None,
        "tables": _tables(manifest) if manifest else [],
        "left": list(manifest.left) if manifest else [],
        "grants": list(leaving.catalog.grants) if leaving else [],
        "processes": list(leaving.processes) if leaving else [],
        "next": None,
    }


def _in_fields(name: str, archive: Archive) -> dict[str, Any]:
    manifest = archive.manifest
    return {
        "schema": name,
        "was": manifest.schema,
        "made_at": manifest.made_at,
        "revision": manifest.revision,
        "stage": manifest.stage,
        "checksum": manifest.checksum,
        "tables": _tables(manifest),
        "left": list(manifest.left),
        "grants": list(manifest.grants),
    }


def _tables(manifest: Manifest) -> list[dict[str, Any]]:
    return [
        {"table": table.name, "rows": table.rows, "bytes": table.size, "sha256": table.sha256}
        for table in manifest.tables
        if table.of == "data"
    ]
