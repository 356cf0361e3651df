"""The report of an inventory, in words and as a document."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from app.cli.options import GivenOptions
from app.cli.render import Document, Words, document, first

if TYPE_CHECKING:
    from app.migration.inventory.fates import Item
    from app.migration.inventory.inventory import Inventory
    from app.migration.inventory.ticks import Ticked

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
