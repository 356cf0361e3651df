"""The command `botdata inventory`: the list itself, and the ticks on it."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.options import AsJson, KeyRoleOk, Metadata, SourceUrl
from app.cli.render import show
from app.cli.running import load_settings, run_async
from app.cli.work import Work
from app.privacy import mask_free_text

Done = Annotated[str | None, typer.Option("--done", help="Tick an item off, as the last inventory names it.")]
Note = Annotated[str | None, typer.Option("--note", help="With --done: what was done about it, or why nothing is.")]
Undo = Annotated[str | None, typer.Option("--undo", help="Take an item's tick back.")]


def inventory(
    done: Done = None,
    note: Note = None,
    undo: Undo = None,
    key_role_ok: KeyRoleOk = False,
    source: SourceUrl = None,
    metadata: Metadata = None,
    as_json: AsJson = False,
) -> None:
    """List all that the source holds, each with its fate. Exit code 0 only when nothing is left to be done.

    Keeps the list in schema botdata of the target (DATABASE_URL), where there is one, for status and for ticks.

    Example: botdata inventory --source postgresql://postgres@db.PROJECT.supabase.co/postgres
    """
    from app.cli.commands.inventory.report import inventory_document, inventory_words
    from app.migration.inventory.inventory import take_inventory

    if done is not None or undo is not None or note is not None:
        _tick(done, note, undo, as_json=as_json)
        return
    work = Work.prepare("inventory", None, False, key_role_ok, source, metadata, needs_target=False)
    report = work.run("inventory", lambda opened, _: take_inventory(opened, work.target or None, work.metadata))
    found = inventory_document(report, work.given)
    show(found, inventory_words(report, found, work.given), as_json)


def _tick(done: str | None, note: str | None, undo: str | None, *, as_json: bool) -> None:
    from app.cli.commands.inventory.report import ticked_document, ticked_words
    from app.migration.inventory.ticks import tick_item, untick_item

    if done is not None and undo is not None:
        raise typer.BadParameter("an item is ticked off, or its tick taken back", param_hint="--done with --undo")
    if (done is None) != (note is None) or (note is not None and not note.strip()):
        raise typer.BadParameter("a tick and the note on it belong together", param_hint="--done with --note")
    settings = load_settings()
    target, kept = settings.require_database_url(), mask_free_text((note or "").strip(), settings.secrets())
    ticked = run_async(untick_item(target, undo or "") if done is None else tick_item(target, done, kept))
    show(ticked_document(ticked), ticked_words(ticked), as_json)
