"""The last inventory of a source, and the ticks of a person on its items."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from psycopg import AsyncConnection

from app.state.fetching import fetch_rows, fetch_value
from app.state.schema_name import SCHEMA

_MOMENT = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"


@dataclass(frozen=True, slots=True)
class KeptItem:
    """An item of an inventory as it is kept.

    Attributes:
        item: its name, the same in each inventory.
        fate: in words.
        definition: a hash of what it is; a tick counts for this definition alone.
        open: something is left to be done about it, unless it is ticked off.
    """

    item: str
    fate: str
    definition: str
    open: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """What a person said of an item: the definition that it had then, a note, and when (ISO 8601, in UTC)."""

    definition: str
    note: str
    done_at: str


@dataclass(frozen=True, slots=True)
class KeptInventory:
    """The last inventory.

    Attributes:
        source: its label.
        taken_at: ISO 8601, in UTC.
    """

    source: str
    taken_at: str
    items: tuple[KeptItem, ...]
    ticks: dict[str, Tick]

    @property
    def open_items(self) -> tuple[str, ...]:
        """The items about which something is left to be done, and which are not ticked off as they are now."""
        return tuple(
            one.item
            for one in self.items
            if one.open and not ((tick := self.ticks.get(one.item)) and tick.definition == one.definition)
        )


async def keep_inventory(connection: AsyncConnection, source: str, items: Sequence[KeptItem]) -> str:
    """Keep an inventory in place of the one before; returns when, as ISO 8601 in UTC."""
    moment = _MOMENT.format("taken_at")
    taken_at: str = await fetch_value(
        connection,
        f"INSERT INTO {SCHEMA}.inventory (source, items) VALUES (%(source)s, %(items)s::json) ON CONFLICT (id) "
        "DO UPDATE SET source = excluded.source, items = excluded.items, taken_at = excluded.taken_at "
        f"RETURNING {moment}",
        {"source": source, "items": json.dumps([asdict(one) for one in items])},
    )
    return taken_at


async def last_inventory(connection: AsyncConnection) -> KeptInventory | None:
    """The last inventory, with the ticks; None where none was taken."""
    rows = await fetch_rows(
        connection, f"SELECT source, {_MOMENT.format('taken_at')}, items::text FROM {SCHEMA}.inventory"
    )
    for source, taken_at, items in rows:
        kept = tuple(KeptItem(**one) for one in json.loads(items))
        return KeptInventory(source, taken_at, kept, await read_ticks(connection))
    return None


async def read_ticks(connection: AsyncConnection) -> dict[str, Tick]:
    """All ticks, by item."""
    rows = await fetch_rows(
        connection, f"SELECT item, definition, note, {_MOMENT.format('done_at')} FROM {SCHEMA}.ticks"
    )
    return {item: Tick(*rest) for item, *rest in rows}


async def tick_off(connection: AsyncConnection, item: str, definition: str, note: str) -> None:
    """Tick an item off, as it is now."""
    await connection.execute(
        f"INSERT INTO {SCHEMA}.ticks (item, definition, note) VALUES (%(item)s, %(definition)s, %(note)s) "
        "ON CONFLICT (item) DO UPDATE SET definition = excluded.definition, note = excluded.note, "
        "done_at = excluded.done_at",
        {"item": item, "definition": definition, "note": note},
    )


async def take_tick_back(connection: AsyncConnection, item: str) -> bool:
    """Take a tick back; False where the item had none."""
    statement = f"DELETE FROM {SCHEMA}.ticks WHERE item = %(item)s RETURNING item"
    return await fetch_value(connection, statement, {"item": item}) is not None
