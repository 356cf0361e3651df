"""Whether two answers are the same: for the tests, and for whoever compares the two stores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from app.data_layer.layer import Health
from app.data_layer.result import Result


def differences(left: Result[Any], right: Result[Any], arguments: Sequence[Any] | None = None) -> list[str]:
    """Where two answers to one call differ, as paths such as `data[3].total_spent`; empty when they are the same.

    Values must be equal and of one type; NaN equals NaN. Messages and timestamps are not compared, nor is the time that
    a health check took.

    Args:
        arguments: those of the call. With them, columns that a store fills by itself (ids, and defaults from its
            clock, as the models say) are compared by type only, unless a row among the arguments gives them. Without
            them everything is compared, as between a store and its copy.
    """
    found: list[str] = []
    for name in ("success", "error_code", "operation"):
        found += _compare(name, getattr(left, name), getattr(right, name), frozenset())
    found += _compare("metadata", _timeless(left), _timeless(right), frozenset())
    filled = frozenset() if arguments is None else _store_filled()
    given = next((argument for argument in arguments or () if isinstance(argument, (Mapping, list, tuple))), {})
    if not (isinstance(left.data, list) and isinstance(right.data, list)):
        return found + _compare("data", left.data, right.data, _without(filled, given))
    if len(left.data) != len(right.data):
        return [*found, "data (length)"]
    per_row = isinstance(given, (list, tuple)) and len(given) == len(left.data)
    for index, (one, other) in enumerate(zip(left.data, right.data, strict=True)):
        free = _without(filled, given[index] if per_row else {})
        found += _compare(f"data[{index}]", one, other, free)
    return found


def _timeless(answer: Result[Any]) -> Mapping[str, Any]:
    timed = {"response_time"} if answer.operation == "health_check" else set()
    return {name: value for name, value in answer.metadata.items() if name not in timed}


def _store_filled() -> frozenset[str]:
    from app import models

    tables = models.Base.metadata.tables.values()
    return frozenset(column.name for table in tables for column in table.columns if models.store_filled(column))


def _without(names: frozenset[str], row: Any) -> frozenset[str]:
    return names - row.keys() if isinstance(row, Mapping) else names


def _compare(path: str, left: Any, right: Any, by_type: Collection[str]) -> list[str]:
    """Paths of differences; fields of a row named in `by_type` are compared by type only."""
    if type(left) is not type(right):
        return [path]
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
            return [f"{path} (length)"]
        pairs = [(f"{path}[{index}]", *pair) for index, pair in enumerate(zip(left, right, strict=True))]
    elif isinstance(left, Mapping):
        if left.keys() != right.keys():
            return [f"{path} (keys)"]
        pairs = [(f"{path}[{key!r}]", left[key], right[key]) for key in left]
    elif isinstance(left, Decimal):
        return [] if left.as_tuple() == right.as_tuple() else [path]  # with its scale
    else:
        both_nan = left != left and right != right
        return [] if both_nan or left == right else [path]
    return [difference for pair in pairs for difference in _compare(*pair, by_type)]
