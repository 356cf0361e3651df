"""Values that callers give for a column, made into the one Python value that both backends send.

What comes out fits its column, so that no store has to round, cut or refuse it in a way of its own. It is of Python's
own type, since a caller's may write itself in a way of its own.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, JSON, BigInteger, Boolean, Column, Date, DateTime, Integer, Numeric, String, Time, Uuid
from sqlalchemy.types import TypeEngine

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,4})?|nan", re.ASCII | re.IGNORECASE)
_TIME = re.compile(r"\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?", re.ASCII)
_DEEPEST_JSON = 200  # far below what json and PostgreSQL's stack allow
_LONGEST_JSON_INTEGER = 10**4000  # Python reads no more than 4,300 digits back
# Rounds as PostgreSQL does, half away from zero, and never by the length of what it is given.
_EXACT = Context(prec=20_000, rounding=ROUND_HALF_UP, traps=[InvalidOperation])

Convert = Callable[[Any], Any]


class UnfitError(Exception):
    """A value that does not fit; the message says what would, and does not repeat the value."""


@lru_cache(maxsize=512)
def converter(column: Column[Any]) -> Convert:
    """The function that makes a value of the column; it raises UnfitError, and takes None where the column does."""
    convert = _of_type(column.type)
    nullable = column.nullable

    def checked(value: Any) -> Any:
        if value is None:
            if nullable:
                return None
            raise UnfitError("must not be None")
        return convert(value)

    return checked


def _of_type(kind: TypeEngine[Any]) -> Convert:
    match kind:
        case ARRAY():
            return _array(_of_type(kind.item_type))
        case JSON():
            return json_value
        case Boolean():
            return _boolean
        case Integer():
            return _integer(63 if isinstance(kind, BigInteger) else 31)
        case Numeric(precision=int(precision), scale=int(scale)):
            return _numeric(precision, scale)
        case String():
            return _text(kind.length)
        case DateTime(timezone=False):
            return timestamp
        case Date():
            return day
        case Time():
            return time_of_day
        case Uuid():
            return _uuid
    raise TypeError(f"no conversion for the column type {kind!r}")


def integer(value: object, *, bits: int = 31) -> int:
    """An int, or one in a string, of a PostgreSQL integer's range."""
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnfitError("must be an integer")
    if not -(2**bits) <= value < 2**bits:
        raise UnfitError(f"must be an integer of at most {bits + 1} bits")
    return int(value)


def _integer(bits: int) -> Convert:
    least, beyond = -(2**bits), 2**bits

    def bounded(value: object) -> int:
        if type(value) is int and least <= value < beyond:
            return value
        return integer(value, bits=bits)

    return bounded


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise UnfitError("must be True or False")
    return value


def plain_text(value: object) -> str:
    """A str that PostgreSQL can hold."""
    if type(value) is str and value.isascii() and "\0" not in value:
        return value
    if not isinstance(value, str):
        raise UnfitError("must be a string")
    if "\0" in value:
        raise UnfitError("must not contain the character U+0000")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UnfitError("must not contain half of a surrogate pair") from None
    return value if type(value) is str else str.__str__(value)


def _text(length: int | None) -> Convert:
    if length is None:
        return plain_text

    def bounded(value: object) -> str:
        text = plain_text(value)
        if len(text) > length:
            raise UnfitError(f"must be at most {length} characters long")
        return text

    return bounded


def _numeric(precision: int, scale: int) -> Convert:
    step = Decimal(1).scaleb(-scale)
    limit = Decimal(10) ** (precision - scale)

    def numeric(value: object) -> Decimal:
        if isinstance(value, float):
            value = float.__repr__(value)
        if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
            value = Decimal(value.strip())
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**40:
            value = Decimal(value)
        if not isinstance(value, Decimal) or value.is_snan() or value.is_infinite():
            raise UnfitError("must be a number")
        if value.is_nan():
            return Decimal("NaN")
        if value and value.adjusted() > 100:
            raise UnfitError(f"must be below 10^{precision - scale}")
        rounded = value.quantize(step, context=_EXACT) if value.adjusted() > -100 else Decimal(0).quantize(step)
        if abs(rounded) >= limit:
            raise UnfitError(f"must be below 10^{precision - scale}")
        return rounded or abs(rounded)  # PostgreSQL has no negative zero

    return numeric


def day(value: object) -> date:
    """A `date`, or `YYYY-MM-DD`."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return date(value.year, value.month, value.day)
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise UnfitError("must be a date, or a date as YYYY-MM-DD")


def timestamp(value: object) -> datetime:
    """A `datetime`, or one as ISO 8601; one with a time zone becomes UTC without one."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if not isinstance(value, datetime):
        raise UnfitError("must be a datetime, or one as ISO 8601")
    try:
        if value.tzinfo is not None and value.utcoffset() is not None:
            value = value.astimezone(UTC)
        return datetime(value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond)
    except (OverflowError, TypeError):  # the latter is of pandas' NaT, whose year is no number
        raise UnfitError("must be between the years 1 and 9999") from None


def time_of_day(value: object) -> time:
    """A `time` without a zone, or `HH:MM[:SS[.ffffff]]`; `24:00:00` is time.max."""
    if isinstance(value, str) and value in {"24:00:00", "24:00"}:
        return time.max
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            value = time.fromisoformat(value)
        except ValueError:
            value = None
    if not isinstance(value, time) or value.tzinfo is not None:
        raise UnfitError("must be a time without a zone, or one as HH:MM:SS")
    return time(value.hour, value.minute, value.second, value.microsecond)


def _uuid(value: object) -> UUID:
    if isinstance(value, UUID):
        return UUID(int=value.int)
    if isinstance(value, str):
        try:
            return UUID(value)
        except ValueError:
            pass
    raise UnfitError("must be a UUID")


def json_value(value: Any, depth: int = 0) -> Any:
    """None, bool, int, float, str, and lists, tuples and dictionaries of them, as plain lists and dictionaries."""
    kind = type(value)
    if kind is str:
        return plain_text(value)
    if value is None or kind is bool or (kind is int and -(2**63) <= value < 2**63):
        return value
    if kind is not dict and kind is not list:
        if isinstance(value, str):
            return plain_text(value)
        if isinstance(value, int):
            if abs(value) >= _LONGEST_JSON_INTEGER:
                raise UnfitError("must not hold integers of more than 4,000 digits")
            return int(value)
        if isinstance(value, float):
            if value != value or value in (float("inf"), float("-inf")):
                raise UnfitError("must not hold NaN or infinity, which JSON lacks")
            return float(value)
    if depth == _DEEPEST_JSON:
        raise UnfitError(f"must be nested at most {_DEEPEST_JSON} deep")
    depth += 1
    if isinstance(value, dict):
        copy = {}
        for key, item in value.items():
            # As _json_key and json_value would, but without a call for what nearly all keys and most items are.
            name = key if type(key) is str and key.isascii() and "\0" not in key else _json_key(key)
            plain = item is None or (type(item) is str and item.isascii() and "\0" not in item)
            copy[name] = item if plain else json_value(item, depth)
        return copy
    if isinstance(value, (list, tuple)):
        return [json_value(item, depth) for item in value]
    raise UnfitError("must be JSON: None, bool, int, float, str, list or dict")


def _json_key(key: object) -> str:
    if not isinstance(key, str):
        raise UnfitError("must have strings as keys")
    return plain_text(key)


def _array(convert: Convert) -> Convert:
    def element(value: Any) -> Any:
        return None if value is None else convert(value)

    def array(value: object) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise UnfitError("must be a list")
        nested = [item for item in value if isinstance(item, (list, tuple))]
        if not nested:
            return [element(item) for item in value]
        lengths = {len(item) for item in nested}
        if len(nested) != len(value) or len(lengths) != 1 or lengths == {0}:
            raise UnfitError("must be a list, or a list of lists of one length")
        return [[element(item) for item in row] for row in nested]

    return array
