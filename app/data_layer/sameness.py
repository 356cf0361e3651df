"""Whether two answers are the same: for the tests, and for whoever compares the two stores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

from app.data_layer.layer import Health
from app.data_layer.result import Result


class Difference(NamedTuple):
    """A place where two values differ: a path such as `[3].total_spent`, and what each has there.

    Lists of two lengths, and dictionaries of different keys, are one place as a whole: `raw_data (keys)`.
    """

    path: str
    left: Any
    right: Any


def differences(left: Result[Any], right: Result[Any], arguments: Sequence[Any] | None = None) -> list[str]:
    """Where two answers to one call differ, as paths such as `data[3].total_spent`; empty when they are the same.

    Values must be equal and of one type; NaN equals NaN. Messages and timestamps are not compared, nor is the time that
    a health check took.

    Args:
        arguments: those of the call. With them, columns that a store fills by itself (ids, and defaults from its
            clock, as the models say) are compared by type only, unless a row among the arguments gives them. Without
            them everything is compared, as between a store and its copy.
    """
    found: list[Difference] = []
    for name in ("success", "error_code", "operation"):
        found += value_differences(name, getattr(left, name), getattr(right, name))
    found += value_differences("metadata", _timeless(left), _timeless(right))
    filled = frozenset() if arguments is None else _store_filled()
    given = next((argument for argument in arguments or () if isinstance(argument, (Mapping, list, tuple))), {})
    if not (isinstance(left.data, list) and isinstance(right.data, list)):
        found += value_differences("data", left.data, right.data, _without(filled, given))
        return [difference.path for difference in found]
    if len(left.data) != len(right.data):
        return [*[difference.path for difference in found], "data (length)"]
    per_row = isinstance(given, (list, tuple)) and len(given) == len(left.data)
    for index, (one, other) in enumerate(zip(left.data, right.data, strict=True)):
        free = _without(filled, given[index] if per_row else {})
        found += value_differences(f"data[{index}]", one, other, free)
    return [difference.path for difference in found]


def _timeless(answer: Result[Any]) -> Mapping[str, Any]:
    timed = {"response_time"} if answer.operation == "health_check" else set()
    return {name: value for name, value in answer.metadata.items() if name not in timed}


@cache
def _store_filled() -> frozenset[str]:
    from app import models

    tables = models.Base.metadata.tables.values()
    return frozenset(column.name for table in tables for column in table.columns if models.store_filled(column))


def _without(names: frozenset[str], row: Any) -> frozenset[str]:
    return names - row.keys() if isinstance(row, Mapping) else names


def value_differences(path: str, left: Any, right: Any, by_type: Collection[str] = frozenset()) -> list[Difference]:
    """Where two values differ, below `path`; fields of a row named in `by_type` are compared by type only."""
    if type(left) is not type(right):
        return [Difference(path, left, right)]
    pairs: list[tuple[str, Any, Any]]
    if isinstance(left, tuple) and hasattr(left, "_fields"):
        timed = {"response_time"} if isinstance(left, Health) else set()
        pairs = [
            (f"{path}.{name}", getattr(left, name), getattr(right, name))
            for name in left._fields
            if name not in timed and not (name in by_type and type(getattr(left, name)) is type(getattr(right, name)))
        ]
    elif isinstance(left, (list, tuple)):
        if len(left) != len(right):
            return [Difference(f"{path} (length)", left, right)]
        pairs = [(f"{path}[{index}]", *pair) for index, pair in enumerate(zip(left, right, strict=True))]
    elif isinstance(left, Mapping):
        if left.keys() != right.keys():
            return [Difference(f"{path} (keys)", left, right)]
        pairs = [(f"{path}[{key!r}]", left[key], right[key]) for key in left]
    elif isinstance(left, Decimal):  # with its scale
        return [] if left.as_tuple() == right.as_tuple() else [Difference(path, left, right)]
    else:
        both_nan = left != left and right != right
        return [] if both_nan or left == right else [Difference(path, left, right)]
    return [difference for pair in pairs for difference in value_differences(*pair, by_type)]
