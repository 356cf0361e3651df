"""A person's ticks on items of the last inventory."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from psycopg import AsyncConnection

from app.errors import MigrationError
from app.migration.target.target_session import explained, open_target
from app.next_step import Command, NextStep
from app.state.runs.inventory import KeptInventory, last_inventory, take_tick_back, tick_off
from app.state.tool_schema import is_current

_STEP = "inventory"
_NEAR = 5
_UNCHANGED = "everything; nothing was changed"


@dataclass(frozen=True, slots=True)
class Ticked:
    """What was done to a tick, and what is still open as of the last inventory."""

    item: str
    note: str | None
    taken_at: str
    open_items: tuple[str, ...]


async def tick_item(target_url: str, item: str, note: str) -> Ticked:
    """Tick an item off, as the last inventory saw it.

    Raises:
        MigrationError: no inventory was taken, or it has no such item; names near ones.
    """
    async with open_target(target_url, step=_STEP) as connection:
        with explained(_STEP, pending=_UNCHANGED):
            kept = await _last(connection)
            found = next((one for one in kept.items if one.item == item), None)
            if found is None:
                raise _no_such("the last inventory has no item", item, (one.item for one in kept.items))
            await tick_off(connection, item, found.definition, note)
            return await _ticked(connection, item, note)


async def untick_item(target_url: str, item: str) -> Ticked:
    """Take a tick back, also of an item that the source has no more.

    Raises:
        MigrationError: no inventory was taken, or the item is not ticked off; names near ones.
    """
    async with open_target(target_url, step=_STEP) as connection:
        with explained(_STEP, pending=_UNCHANGED):
            kept = await _last(connection)
            if not await take_tick_back(connection, item):
                raise _no_such("nobody has ticked off", item, kept.ticks)
            return await _ticked(connection, item, None)


async def _ticked(connection: AsyncConnection, item: str, note: str | None) -> Ticked:
    kept = await _last(connection)
    return Ticked(item, note, kept.taken_at, kept.open_items)


async def _last(connection: AsyncConnection) -> KeptInventory:
    kept = await last_inventory(connection) if await is_current(connection) else None
    if kept is None:
        raise MigrationError(
            "the target keeps no inventory, so there is nothing to tick off",
            step=_STEP,
            pending=_UNCHANGED,
            next_step=NextStep(Command(_STEP)),
        )
    return kept


def _no_such(said: str, item: str, known: Iterable[str]) -> MigrationError:
    names = list(known)
    holding = [name for name in names if item.lower() in name.lower()]
    near = [*holding, *get_close_matches(item, names, n=_NEAR, cutoff=0.5)]
    listed = "; ".join(dict.fromkeys(near[:_NEAR])) or "none"
    return MigrationError(
        f"{said} {item!r}; near it: {listed}",
        step=_STEP,
        pending=_UNCHANGED,
        next_step=NextStep("the same command with one of these; all of them: ", Command(_STEP)),
    )
