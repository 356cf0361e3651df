"""Two answers of one method held against each other: which rows differ, in which fields, and whose keys those are."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, NamedTuple

from app import models
from app.cutover.shadow.value_diff import ValueDifference, value_differences
from app.errors import DataError
from app.stores.backend import Upcoming
from app.stores.codec import rows
from app.stores.reads import UPCOMING_AT_MOST

_ROWS: dict[type, type[models.Base]] = {
    rows.BookingRow: models.Booking,
    rows.ClientRow: models.Client,
    rows.ClientSummary: models.Client,
    rows.CompanyRow: models.Company,
    rows.DialogContextRow: models.DialogContext,
    rows.ServiceRow: models.Service,
    rows.StaffRow: models.Staff,
    rows.StaffScheduleRow: models.StaffSchedule,
}
_PLAIN = {type(None), bool, date, datetime, int, str, time}  # equal values of these types need no second look
_EXACT_REPR = {Decimal, dict, list}  # with the scale, and the types of what is in it
_AT_A_TIME = 50  # rows held against each other in one turn of the event loop: less than a millisecond


class RowKey(NamedTuple):
    """A row: its table, and its natural key as texts, as the notes and the outbox have it."""

    table: str
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RowDifference:
    """A row that one answer has otherwise than the other, or not at all.

    Attributes:
        left: the row, or None where this answer lacks it.
        fields: by column; a row that is missing is one place, called `(row)`.
    """

    key: RowKey
    left: Any
    right: Any
    fields: tuple[ValueDifference, ...]

    @property
    def is_missing(self) -> bool:
        """Whether one of the answers lacks it."""
        return self.left is None or self.right is None


@dataclass(frozen=True, slots=True)
class AnswerDifference:
    """What differs between two answers.

    Attributes:
        rows: those that differ.
        others: what differs and is not one row's: an error, an unknown time zone, the order of rows that are equal.
        is_cut: a limit was reached, so that one row may be missing because another is there.
    """

    rows: tuple[RowDifference, ...] = ()
    others: tuple[ValueDifference, ...] = ()
    is_cut: bool = False

    def __bool__(self) -> bool:
        return bool(self.rows or self.others)

    @property
    def fields(self) -> list[ValueDifference]:
        """All places, the rows' first."""
        return [field for row in self.rows for field in row.fields] + list(self.others)


def difference(left: object, right: object, arguments: Mapping[str, Any]) -> AnswerDifference:
    """How two answers to one call differ; falsy when they are the same.

    Rows are matched by their natural keys, so that one that is missing does not make all others differ.

    Args:
        left: a row, None, rows, Upcoming, or the DataError that was raised; of these the code alone counts.
        right: likewise.
        arguments: those of the call.
    """
    if isinstance(left, DataError) or isinstance(right, DataError):
        return AnswerDifference(others=tuple(value_differences("(answer)", _word(left), _word(right))))
    others: list[ValueDifference] = []
    limit = arguments.get("limit")
    if isinstance(left, Upcoming) and isinstance(right, Upcoming):
        others = value_differences("unknown_timezone", left.unknown_timezone, right.unknown_timezone)
        left, right, limit = left.bookings, right.bookings, UPCOMING_AT_MOST
    lefts, rights = keyed(left, arguments), keyed(right, arguments)
    found = []
    for key in lefts | rights:
        one, other = lefts.get(key), rights.get(key)
        if fields := row_fields(one, other):
            found.append(RowDifference(key, one, other, fields))
    shared = [key for key in lefts if key in rights], [key for key in rights if key in lefts]
    if not found and shared[0] != shared[1]:
        others.append(ValueDifference("(order)", len(lefts), len(rights)))
    is_cut = limit is not None and max(len(lefts), len(rights)) >= limit
    return AnswerDifference(tuple(found), tuple(others), is_cut)


def row_fields(left: Any, right: Any) -> tuple[ValueDifference, ...]:
    """The columns in which two rows differ; None stands for no row."""
    if left is None or right is None:
        return () if left is right else (ValueDifference("(row)", left, right),)
    if type(left) is not type(right):
        return (ValueDifference("(row)", left, right),)
    named = zip(left._fields, left, right, strict=True)
    return tuple(ValueDifference(name, one, other) for name, one, other in named if _differ(one, other))


def _differ(one: object, other: object) -> bool:
    """As `value_differences`, and faster where it can be."""
    kind = type(one)
    if kind is not type(other):
        return True
    if kind in _PLAIN:
        return one != other
    if kind in _EXACT_REPR and repr(one) == repr(other):
        return False
    return bool(value_differences("", one, other))


def keyed(answer: object, arguments: Mapping[str, Any]) -> dict[RowKey, Any]:
    """The rows of an answer by their keys, in its order; a key that comes again gets its number added."""
    if isinstance(answer, Upcoming):
        answer = answer.bookings
    found: dict[RowKey, Any] = {}
    for row in answer if isinstance(answer, list) else [] if answer is None else [answer]:
        key = first = _key(row, arguments)
        again = 1
        while key in found:
            again += 1
            key = first._replace(key=(*first.key, f"({again})"))
        found[key] = row
    return found


def _key(row: Any, arguments: Mapping[str, Any]) -> RowKey:
    table = rows.table_of(_ROWS[type(row)])
    # A summary has no company; the search that gave it was in one.
    names = rows.natural_key(table)
    return RowKey(table.name, tuple(str(getattr(row, name, arguments.get(name))) for name in names))


def _word(answer: object) -> str:
    return answer.code if isinstance(answer, DataError) else "answered"


async def are_the_same(left: object, right: object) -> bool:
    """Whether two answers are the same row by row, which is the usual case; others get their turn between the rows.

    False: `difference` tells.
    """
    if isinstance(left, Upcoming) and isinstance(right, Upcoming):
        return left.unknown_timezone == right.unknown_timezone and await are_the_same(left.bookings, right.bookings)
    if not isinstance(left, list) or not isinstance(right, list):
        return _is_same_row(left, right)
    if len(left) != len(right):
        return False
    for start in range(0, len(left), _AT_A_TIME):
        end = start + _AT_A_TIME
        if not all(map(_is_same_row, left[start:end], right[start:end])):
            return False
        await asyncio.sleep(0)
    return True


def _is_same_row(left: Any, right: Any) -> bool:
    if left is None or right is None or type(left) is not type(right):
        return left is right
    # Equal first, at the interpreter's own speed; then what is equal and not the same: 1 and True, 1.0 and 1.00.
    if left != right or list(map(type, left)) != list(map(type, right)):
        return False
    return not any(type(one) not in _PLAIN and _differ(one, other) for one, other in zip(left, right, strict=True))
