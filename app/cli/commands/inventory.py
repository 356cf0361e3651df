"""The command `botdata inventory`: the list itself, the ticks on it, and what is said of both."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import AsJson, GivenOptions, KeyRoleOk, Metadata, SourceUrl
from app.cli.render import Document, Words, document, first, show
from app.cli.running import load_settings, run_async
from app.cli.work import Work
from app.privacy import mask_free_text

if TYPE_CHECKING:
    from app.migration.inventory.fates import Item
    from app.migration.inventory.inventory import Inventory
    from app.migration.inventory.ticks import Ticked


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
    from app.migration.inventory.inventory import take_inventory

    if done is not None or undo is not None or note is not None:
        _tick(done, note, undo, as_json=as_json)
        return
    work = Work.prepare("inventory", key_role_ok=key_role_ok, source=source, metadata=metadata, needs_target=False)
    report = work.run("inventory", lambda opened, _: take_inventory(opened, work.target or None, work.metadata))
    found = inventory_document(report, work.given)
    show(found, inventory_words(report, found, work.given), as_json)


def _tick(done: str | None, note: str | None, undo: str | None, *, as_json: bool) -> None:
    from app.migration.inventory.ticks import tick_item, untick_item

    if done is not None and undo is not None:
        raise typer.BadParameter("an item is ticked off, or its tick taken back", param_hint="--done with --undo")
    if (done is None) != (note is None) or (note is not None and not note.strip()):
        raise typer.BadParameter("a tick and the note on it belong together", param_hint="--done with --note")
    settings = load_settings()
    target, kept = settings.require_database_url(), mask_free_text((note or "").strip(), settings.secrets())
    ticked = run_async(untick_item(target, undo or "") if done is None else tick_item(target, done, kept))
    show(ticked_document(ticked), ticked_words(ticked), as_json)


_SHOWN = 10  # items that are still open, after a tick


def inventory_words(report: Inventory, found: Document, given: GivenOptions) -> Words:
    """The items by fate, what there is none of, and the verdict."""
    for fate, group in groupby(report.items, key=lambda one: one.fate):
        items = list(group)
        yield f"{fate} ({len(items):,}):"
        by_kind = [list(of_kind) for _, of_kind in groupby(items, key=lambda one: one.kind)]
        for alike in [items] if fate == "not visible from here" else by_kind:  # of which all want the same, most often
            yield from _kind(alike, given)
        yield ""
    if report.none_found:
        yield f"looked for, and there are none: {', '.join(report.none_found)}"
    for notice in report.notices:
        yield f"note: {notice}"
    still_open = report.open_items
    if still_open:
        yield f"NOT all dealt with: {len(still_open):,} of {len(report.items):,} items are open"
    else:
        yield f"all dealt with: {len(report.items):,} items, none open"
    yield f"Next: {found['next']}"


def _kind(items: Sequence[Item], given: GivenOptions) -> Words:
    """The items of one kind and fate; those about which the same is to be done, one below the other."""
    alike: dict[str, list[Item]] = {}
    for one in items:
        alike.setdefault(_what_to_do(one, given, name="NAME"), []).append(one)
    for together in alike.values():
        for one in together:
            said = f": {one.detail}" if one.detail else ""
            yield f"  {one.label}{said}"
            if one.tick is not None:
                when = "done" if one.done else "changed since it was ticked off"
                yield f"    {when}, {one.tick.done_at}: {one.tick.note}"
        if any(one.open for one in together):
            name = "NAME" if len(together) > 1 else together[0].name
            yield f"    do: {_what_to_do(together[0], given, name=name)}"


def _what_to_do(one: Item, given: GivenOptions, *, name: str) -> str:
    """What to do about an item, with a name in the place of its own; empty where nothing is."""
    if one.how is None or not one.open:
        return ""
    text = given.text(one.how)
    table = shlex.quote(one.name.removeprefix("public."))
    return text.replace(one.name, name).replace(f"--tables {table}", f"--tables {name.removeprefix('public.')}")


def inventory_document(report: Inventory, given: GivenOptions) -> Document:
    """The whole report for `--json`."""
    return document(
        "inventory",
        ok=not report.open_items,
        source=report.source,
        taken_at=report.taken_at,
        items=[
            {
                "item": one.label,
                "kind": one.kind,
                "name": one.name,
                "fate": one.fate.value,
                "detail": one.detail,
                "how": None if one.how is None else given.text(one.how),
                "open": one.open,
                "note": one.tick.note if one.tick else None,
                "done_at": one.tick.done_at if one.tick else None,
                "changed": one.changed,
            }
            for one in report.items
        ],
        none_found=list(report.none_found),
        open=len(report.open_items),
        notices=list(report.notices),
        next=given.text(report.next_step),
    )


def ticked_words(ticked: Ticked) -> Words:
    """What was done to the tick, and what is still open."""
    said = "tick taken back" if ticked.note is None else "ticked off"
    yield f"{ticked.item}: {said}"
    if not ticked.open_items:
        yield f"nothing is open, as of the inventory of {ticked.taken_at}"
        return
    yield f"{len(ticked.open_items):,} items are open, as of the inventory of {ticked.taken_at}:"
    yield from first([f"  {item}" for item in ticked.open_items], "  ... and {:,} more: botdata inventory", most=_SHOWN)


def ticked_document(ticked: Ticked) -> Document:
    """The same for `--json`."""
    return document(
        "inventory",
        ok=True,
        item=ticked.item,
        note=ticked.note,
        taken_at=ticked.taken_at,
        open=list(ticked.open_items),
    )
