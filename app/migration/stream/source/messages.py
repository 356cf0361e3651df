"""The messages of pgoutput (protocol version 1), decoded; values stay the text that the server sent.

PostgreSQL's documentation, "Logical Replication Message Formats", says what they are made of.
"""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from app.errors import StoreError

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL's


class Unchanged(Enum):
    """Stands for a value out of line (TOAST) that an update left as it was, and that was not sent."""

    TOAST = "unchanged"


# A row in the order of its Relation's columns: text, NULL, or a value that was not sent.
Row = list[str | Unchanged | None]


@dataclass(frozen=True, slots=True)
class Begin:
    """The first message of a transaction.

    Attributes:
        commit_lsn: where its commit record begins.
        committed_at: by the source's clock.
        xid: its number, without an epoch.
    """

    commit_lsn: int
    committed_at: datetime
    xid: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The last message of a transaction; `end_lsn`: where its commit record ends."""

    commit_lsn: int
    end_lsn: int


@dataclass(frozen=True, slots=True)
class RelationColumn:
    """A column of a Relation; `in_key`: it is part of the replica identity."""

    name: str
    in_key: bool
    type_oid: int
    type_modifier: int


@dataclass(frozen=True, slots=True)
class Relation:
    """What a table is like; sent before its first change, and again where it has become another.

    Attributes:
        identity: its replica identity, as in `pg_class.relreplident`.
    """

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[RelationColumn, ...]

    @property
    def shape(self) -> object:
        """What it is without its replica identity."""
        columns = [(column.name, column.type_oid, column.type_modifier) for column in self.columns]
        return self.schema, self.name, columns


@dataclass(frozen=True, slots=True)
class Insert:
    """A new row."""

    relation: int
    row: Row


@dataclass(frozen=True, slots=True)
class Update:
    """A row as it is now.

    Attributes:
        old: what it was: of the replica identity, where that has changed, or whole under REPLICA IDENTITY FULL;
            columns outside of the identity are NULL then. None: the identity is as before.
    """

    relation: int
    old: Row | None
    row: Row


@dataclass(frozen=True, slots=True)
class Delete:
    """A row that is gone: the columns of its replica identity; the others are NULL."""

    relation: int
    old: Row


@dataclass(frozen=True, slots=True)
class Truncate:
    """Tables that were emptied."""

    relations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Other:
    """A message that says nothing of rows: Type, Origin, Message."""

    kind: str


Message = Begin | Commit | Relation | Insert | Update | Delete | Truncate | Other


def decode(data: bytes) -> Message:
    """One message.

    Raises:
        StoreError: it is cut short, has bytes left over, or is of a kind that this version does not know.
    """
    try:
        kind = chr(data[0])
        reader = _READERS.get(kind)
        if reader is None:
            raise StoreError(f"the source sent a change of an unknown kind, {data[:1]!r}")
        message, end = reader(data)
    except (IndexError, struct.error, UnicodeDecodeError, OverflowError):
        raise StoreError("the source sent a change that is cut short or garbled") from None
    if end != len(data):
        raise StoreError("the source sent a change that is longer than it says")
    return message


def _begin(data: bytes) -> tuple[Message, int]:
    lsn, moment, xid = struct.unpack_from("!QqI", data, 1)
    return Begin(lsn, _EPOCH + timedelta(microseconds=moment), xid), 21


def _commit(data: bytes) -> tuple[Message, int]:
    commit, end = struct.unpack_from("!QQ", data, 2)  # the flags between are not used yet
    struct.unpack_from("!q", data, 18)
    return Commit(commit, end), 26


def _relation(data: bytes) -> tuple[Message, int]:
    (oid,) = struct.unpack_from("!I", data, 1)
    schema, at = _name(data, 5)
    name, at = _name(data, at)
    identity, count = chr(data[at]), *struct.unpack_from("!H", data, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        in_key = bool(data[at] & 1)
        column, at = _name(data, at + 1)
        columns.append(RelationColumn(column, in_key, *struct.unpack_from("!Ii", data, at)))
        at += 8
    return Relation(oid, schema or "pg_catalog", name, identity, tuple(columns)), at


def _insert(data: bytes) -> tuple[Message, int]:
    _expect(data, 5, b"N")
    row, at = _row(data, 6)
    return Insert(_oid(data), row), at


def _update(data: bytes) -> tuple[Message, int]:
    at, old = 5, None
    if data[at : at + 1] in {b"K", b"O"}:
        old, at = _row(data, at + 1)
    _expect(data, at, b"N")
    row, at = _row(data, at + 1)
    return Update(_oid(data), old, row), at


def _delete(data: bytes) -> tuple[Message, int]:
    _expect(data, 5, b"KO")
    old, at = _row(data, 6)
    return Delete(_oid(data), old), at


def _truncate(data: bytes) -> tuple[Message, int]:
    (count,) = struct.unpack_from("!I", data, 1)  # after it one byte: CASCADE, RESTART IDENTITY
    return Truncate(struct.unpack_from(f"!{count}I", data, 6)), 6 + 4 * count


def _other(data: bytes) -> tuple[Message, int]:
    return Other(chr(data[0])), len(data)


_READERS = {
    "B": _begin,
    "C": _commit,
    "R": _relation,
    "I": _insert,
    "U": _update,
    "D": _delete,
    "T": _truncate,
    "Y": _other,
    "O": _other,
    "M": _other,
}


def _oid(data: bytes) -> int:
    """The table's, with which a change of a row begins."""
    return int.from_bytes(data[1:5])


def _expect(data: bytes, at: int, kinds: bytes) -> None:
    if data[at] not in kinds:
        raise IndexError


def _name(data: bytes, at: int) -> tuple[str, int]:
    end = data.find(b"\0", at)
    if end < 0:
        raise IndexError
    return data[at:end].decode(), end + 1


def _row(data: bytes, at: int) -> tuple[Row, int]:
    count = int.from_bytes(data[at : at + 2])
    at += 2
    row: Row = []
    for _ in range(count):
        kind = data[at]
        at += 1
        if kind == 0x74:  # t: text
            start = at + 4
            end = start + int.from_bytes(data[at:start])
            if end > len(data):
                raise IndexError
            row.append(data[start:end].decode())
            at = end
        elif kind == 0x6E:  # n: NULL
            row.append(None)
        elif kind == 0x75:  # u: unchanged, and not sent
            row.append(Unchanged.TOAST)
        else:
            raise IndexError
    return row, at
