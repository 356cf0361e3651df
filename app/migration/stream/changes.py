"""Changes that wait to be applied, by table: of each key what it comes to, in the order of the last change."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.common.keys import Key
from app.common.schemas import Schemas
from app.errors import StoreError
from app.migration.stream.source.messages import Begin, Delete, Insert, Relation, Row, Unchanged, Update
from app.migration.tables.copy_table import CopyTable

# Types by their oids whose own output is not what a cast to text gives, as which all other rows come.
_AS_CAST: Mapping[int, Callable[[str], str]] = {
    16: lambda text: {"t": "true", "f": "false"}[text],  # boolean
    869: lambda text: text if "/" in text else f"{text}/{128 if ':' in text else 32}",  # inet
    1042: lambda text: text.rstrip(" "),  # character(n)
}


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
        relation: as the source sends its rows, with all of the table's columns.
    """

    def __init__(self, table: CopyTable, relation: Relation) -> None:
        positions = {column.name: position for position, column in enumerate(relation.columns)}
        self.table = table
        self._positions = tuple(positions[name] for name in table.names)
        types = [relation.columns[position].type_oid for position in self._positions]
        self._casts = [(place, _AS_CAST[oid]) for place, oid in enumerate(types) if oid in _AS_CAST]
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
        values = self._values(row)
        if old is not None and Unchanged.TOAST in values:
            values = [
                was if now is Unchanged.TOAST and isinstance(was, str) else now
                for was, now in zip(self._values(old), values, strict=True)
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

    def _values(self, row: Row) -> Row:
        values = [row[position] for position in self._positions]
        for place, cast in self._casts:
            if isinstance(value := values[place], str):
                values[place] = cast(value)
        return values

    def _key_of(self, row: Row) -> Key:
        return self._checked(self._values(row)[: self.table.key_size])

    def _checked(self, key: Row) -> Key:
        if not all(isinstance(part, str) for part in key):
            raise StoreError(f"a change of {self.table.name} came without its key")
        return tuple(key)  # type: ignore[arg-type]


class OtherRelationError(Exception):
    """A table's name, its columns or its replica identity are not those of before.

    Attributes:
        before: the first transaction that shows it: where its commit record begins.
        columns: it is the name or the columns.
    """

    def __init__(self, table: str, before: int, *, columns: bool) -> None:
        super().__init__(table)
        self.table = table
        self.before = before
        self.columns = columns


class WaitingChanges:
    """The changes of some tables.

    Args:
        tables: those to be followed, by their oids at the end whose changes come, parents before children; what else
            comes is passed over.
        schemas: of that end, by their names.
    """

    def __init__(self, tables: Mapping[int, CopyTable], schemas: Schemas) -> None:
        self._tables = tables
        self._schemas = schemas
        self._order = [table.name for table in tables.values()]
        self._relations: dict[int, Relation] = {}
        self._pending: dict[int, PendingChanges] = {}

    def __len__(self) -> int:
        return sum(map(len, self._pending.values()))

    def clear(self) -> None:
        """Nothing waits any more."""
        self._pending.clear()

    def take_relation(self, relation: Relation, begin: Begin | None) -> None:
        """From here on the source sends a table's rows so.

        Args:
            begin: of its transaction; None where that is passed over.

        Raises:
            OtherRelationError: the transaction sends them otherwise than those before.
        """
        known = self._relations.get(relation.oid)
        table = self._tables.get(relation.oid)
        if begin is not None and known is not None and known != relation and table is not None:
            raise OtherRelationError(table.name, begin.commit_lsn, columns=known.shape != relation.shape)
        self._relations[relation.oid] = relation

    def of(self, oid: int, begin: Begin) -> PendingChanges | None:
        """Those of a table; None: it is not followed.

        Raises:
            OtherRelationError: the transaction has the table under another name, or without one of its columns.
        """
        table = self._tables.get(oid)
        if table is not None and oid not in self._pending:
            relation = self._relations[oid]
            is_named = (relation.schema, relation.name) == (self._schemas.named(table.schema), table.relation_name)
            if not is_named or not {*table.names} <= {column.name for column in relation.columns}:
                raise OtherRelationError(table.name, begin.commit_lsn, columns=True)
            self._pending[oid] = PendingChanges(table, relation)
        return self._pending.get(oid)

    def take(self) -> list[tuple[CopyTable, list[Key], Mapping[Key, Put]]]:
        """Of each table, parents before children, the keys to be deleted and the rows to be put; nothing is left."""
        taken = [(one.table, *one.take()) for one in self._pending.values() if len(one)]
        return sorted(taken, key=lambda one: self._order.index(one[0].name))
