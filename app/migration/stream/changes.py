"""Changes of one table that wait to be applied: of each key what it comes to, in the order of the last change."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.common.keys import Key
from app.errors import StoreError
from app.migration.stream.source.messages import Delete, Insert, Relation, Row, Unchanged, Update
from app.migration.tables.copy_table import CopyTable


@dataclass(slots=True)
class Put:
    """A row as it is to be.

    Attributes:
        values: in the order of the table's columns.
        origin: the key under which the target has the values that were not sent.
    """

    values: Row
    origin: Key

    @property
    def whole(self) -> bool:
        """Whether all values were sent."""
        return Unchanged.TOAST not in self.values


class PendingChanges:
    """The changes of one table.

    Args:
        relation: as the source sends its rows.

    Raises:
        StoreError: the source's table lacks a column.
    """

    def __init__(self, table: CopyTable, relation: Relation) -> None:
        positions = {column.name: position for position, column in enumerate(relation.columns)}
        if missing := [name for name in table.names if name not in positions]:
            raise StoreError(f"the changes of {table.name} come without {', '.join(missing)}")
        self.table = table
        self._positions = tuple(positions[name] for name in table.names)
        self._key = self._positions[: table.key_size]
        self._rows: dict[Key, Put | None] = {}  # None: it is to be deleted

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, change: Insert | Update | Delete) -> None:
        """Add the next change."""
        if isinstance(change, Delete):
            key = self._key_of(change.old)
            self._rows.pop(key, None)
            self._rows[key] = None
            return
        row, old = change.row, change.old if isinstance(change, Update) else None
        values = [row[position] for position in self._positions]
        if old is not None and Unchanged.TOAST in values:
            sent = [old[position] for position in self._positions]
            values = [
                was if now is Unchanged.TOAST and isinstance(was, str) else now
                for was, now in zip(sent, values, strict=True)
            ]
        key = self._checked(values[: self.table.key_size])
        before = key if old is None else self._key_of(old)
        origin = before
        if Unchanged.TOAST in values and (earlier := self._rows.get(before)) is not None:
            values = [was if now is Unchanged.TOAST else now for was, now in zip(earlier.values, values, strict=True)]
            origin = earlier.origin
        if before != key:
            self._rows.pop(before, None)
            self._rows[before] = None
        self._rows.pop(key, None)
        self._rows[key] = Put(values, origin)

    def take(self) -> tuple[list[Key], Mapping[Key, Put]]:
        """The keys to be deleted, and the rows to be put after that; nothing is left."""
        rows, self._rows = self._rows, {}
        return [key for key, put in rows.items() if put is None], {key: put for key, put in rows.items() if put}

    def _key_of(self, row: Row) -> Key:
        return self._checked([row[position] for position in self._key])

    def _checked(self, key: Row) -> Key:
        if not all(isinstance(part, str) for part in key):
            raise StoreError(f"a change of {self.table.name} came without its key")
        return tuple(key)  # type: ignore[arg-type]
