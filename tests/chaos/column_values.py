"""Generated values for a column: most fit, at the edges of its type and written in many ways; some do not."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, JSON, Boolean, Column, Date, DateTime, Integer, Numeric, String, Time, Uuid

from tests.chaos.hostile_text import INJECTIONS, UNFIT, text

_LONGEST = 100_000
_ENDLESS: list[Any] = []
_ENDLESS.append(_ENDLESS)
DEEP: list[Any] = []
for _ in range(3000):
    DEEP = [DEEP]


class _Text(str):
    """A string of a type of the caller's own."""


class _Number(int):
    """A number of a type of the caller's own, that says of itself what it likes."""

    def __str__(self) -> str:
        return "1 OR 1=1"

    __repr__ = __str__


# Of no use to any column of another type than theirs
ANYTHING: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.0, 0.5, float("nan"), float("inf"), float("-inf"), -0.0, 1e308, 5e-324, 2**31,
    2**63, -(2**31) - 1, 10**40, 10**5000, "", " ", "\u2003", "1x", "١٢", "1_000", "0x1", "1e3",
    "12345678901234567890", b"1", bytearray(b"x"), [], {}, (), [1], ["a", ["b"]], [[1], [2, 3]], [[]],
    {"a": object()}, {1: 2}, {None: 1}, set(), object(), Decimal("sNaN"), Decimal("Infinity"), Decimal("1e999999"),
    Fraction(1, 3), 1j, range(3), date.max, date.min, datetime.max, datetime.min,
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-23))), time.max, time(1, tzinfo=UTC), timedelta(1),
    UUID(int=0), type, print, ..., NotImplemented, DEEP, _ENDLESS, "x" * 300, "😀" * 300, _Text("x"), _Number(5),
    "2026-02-30", "2026-13-01", "infinity", "-infinity", "0044-03-15 BC", "10000-01-01", "24:00:01", "25:00",
    memoryview(b"x"), ValueError("x"), *UNFIT, *INJECTIONS[:20],
)  # fmt: skip


# For a JSON column the whole of ANYTHING will not do: see `document`.
_NO_JSON = (
    object(), set(), b"x", {1: 2}, {"a": object()}, [None, float("nan")], [None, float("inf")], {"a": 10**5000}, DEEP,
    _ENDLESS, float("nan"), Decimal(1), date.max, time.max, [None, *UNFIT], {UNFIT[1]: 1}, print, 1j,
)  # fmt: skip


def value(chance: random.Random, column: Column[Any], *, unfit: float = 0.04) -> Any:
    """A value for a column; with the probability `unfit` anything at all."""
    if chance.random() < unfit:
        return chance.choice(_NO_JSON if isinstance(column.type, JSON) else ANYTHING)
    if column.nullable and chance.random() < 0.08:
        return None
    return fitting(chance, column.type)


def fitting(chance: random.Random, kind: Any) -> Any:
    """A value that a column of a type takes."""
    match kind:
        case ARRAY():
            size = chance.choice((0, 1, 2, 3, 7))
            items = [None if chance.random() < 0.1 else fitting(chance, kind.item_type) for _ in range(size)]
            return [items, items[::-1]] if items and chance.random() < 0.15 else chance.choice((list, tuple))(items)
        case JSON():
            return document(chance)
        case Boolean():
            return chance.random() < 0.5
        case Integer():
            number = chance.choice((0, 1, -1, 7, 2**31 - 1, -(2**31), chance.randrange(-(2**31), 2**31)))
            return chance.choice((number, number, str(number), f" {number} ", _Number(number)))
        case Numeric(precision=int(precision), scale=int(scale)):
            return _numeric(chance, precision, scale)
        case String():
            made = text(chance, kind.length or _LONGEST)
            return _Text(made) if chance.random() < 0.05 else made
        case DateTime():
            return _timestamp(chance)
        case Date():
            day = chance.choice((date.min, date.max, date(2024, 2, 29), date(2026, 11, 21), date(1582, 10, 10)))
            return chance.choice((day, day.isoformat()))
        case Time():
            return chance.choice((time.min, time.max, time(9, 30), "24:00:00", "24:00", "10:00", "23:59:59.999999"))
        case Uuid():
            made_up = UUID(int=chance.getrandbits(128))
            return chance.choice((made_up, str(made_up), made_up.hex, f"{{{made_up}}}", made_up.urn))
    raise TypeError(f"no values for {kind!r}")


def _numeric(chance: random.Random, precision: int, scale: int) -> Any:
    largest = Decimal(10) ** (precision - scale) - Decimal(1).scaleb(-scale)
    number = Decimal(chance.randrange(-(10**precision) + 1, 10**precision)).scaleb(-scale)
    return chance.choice(
        (number, str(number), largest, -largest, f"{largest}", 0, 0.1, -0.0, "-0", "NaN", Decimal("NaN"), "1e-300",
         "5e-1", Decimal("0.005"), "0.0049999999999999999999", 1e-320, float("nan"), "+1.", ".5", Decimal("-0.000"), 1)
    )  # fmt: skip


def _timestamp(chance: random.Random) -> Any:
    moment = chance.choice(
        (datetime.min, datetime.max, datetime(2026, 3, 29, 2, 30, fold=1), datetime(2024, 2, 29, 23, 59, 59, 999999))
    )
    east = timezone(timedelta(hours=5, minutes=45, seconds=1))
    near = datetime(2026, 1, 1, tzinfo=east)
    return chance.choice(
        (moment, moment.isoformat(), moment.isoformat(" "), near, near.isoformat(), "2026-W01-1", "20260101")
    )


def document(chance: random.Random) -> Any:
    """JSON that the server in PostgREST's place carries as it is.

    It is `@supabase/lite`, which passes bodies through JavaScript (1.0, integers past 2^53), and takes a whole value
    that is no object or list, or a list that begins with a truth value, for another type. `exact_document` makes those.
    """
    if chance.random() < 0.5:
        return [None, *(_part(chance, 1) for _ in range(chance.randint(0, 4)))]
    if chance.random() < 0.05:
        nested: Any = {}
        for _ in range(chance.choice((50, 190, 199))):
            nested = [nested] if chance.random() < 0.5 else {"d": nested}
        return nested if isinstance(nested, dict) else {"d": nested} if len(str(nested)) < 100 else [None]
    return {text(chance, 30): _part(chance, 1) for _ in range(chance.randint(0, 5))}


def _part(chance: random.Random, depth: int) -> Any:
    if depth < 4 and chance.random() < 0.3:
        parts = [_part(chance, depth + 1) for _ in range(chance.randint(0, 3))]
        return parts if chance.random() < 0.5 else {text(chance, 10): part for part in parts}
    number = chance.randrange(-(2**53) + 1, 2**53)
    return chance.choice((None, True, False, 0, number, 0.5, -1234.0625, text(chance, 200), _Text("x"), ""))


def exact_document(chance: random.Random) -> Any:
    """JSON that lite would change: compared with itself, after a write to PostgreSQL and a read."""
    whole = chance.choice((True, False, text(chance, 50), 1, 0.5, 10**30, [True, 1], [False]))
    number = chance.choice((1.0, 1e15, 2**53 + 1, -(2**64), 10**3999, 1e-7, 1.7976931348623157e308, 0.1, 123456789.125))
    return chance.choice((whole, {"n": number}, [None, number, [number]], {text(chance, 20): [True, number]}))
