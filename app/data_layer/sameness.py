"""Whether two answers are the same: for the tests, and for whoever compares the two stores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from app.data_layer.layer import Health
from app.data_layer.result import Result

if TYPE_CHECKING:
    from collections.abc import Collection


def _store_filled() -> set[str]:
    from app import models

    tables = models.Base.metadata.tables.values()
    return {column.name for table in tables for column in table.columns if models.store_filled(column)}


def differences(left: Result[Any], right: Result[Any], *, given: Collection[str] | None = None) -> list[str]:
    """Where two answers to one call differ, as paths such as `data[3].total_spent`; empty when they are the same.

    Values must be equal and of one type; NaN equals NaN. Messages and timestamps are not compared, nor is the time that
    a health check took.

    Args:
        given: for answers to a write, the columns that its rows gave; others that the store itself fills (ids, and
            defaults from its clock) are compared by type only. None for a read of equal stores.
    """
    found: list[str] = []
    free = frozenset() if given is None else _store_filled() - set(given)
    for name in ("success", "error_code", "operation", "data", "metadata"):
        found += _compare(name, getattr(left, name), getattr(right, name), free)
    return found


def _compare(path: str, left: Any, right: Any, free: Collection[str]) -> list[str]:
    if type(left) is not type(right):
        return [path]
    if isinstance(left, Health):
        return [path] if left[::2] != right[::2] else []
    if isinstance(left, tuple) and hasattr(left, "_fields"):
        return [
            difference
            for name in left._fields
            for difference in _compare_column(f"{path}.{name}", name, getattr(left, name), getattr(right, name), free)
        ]
    if isinstance(left, (list, tuple)):
        if len(left) != len(right):
            return [f"{path} (length)"]
        pairs = zip(left, right, strict=True)
        return [d for index, pair in enumerate(pairs) for d in _compare(f"{path}[{index}]", *pair, free)]
    if isinstance(left, Mapping):
        if left.keys() != right.keys():
            return [f"{path} (keys)"]
        return [
            difference
            for key in left
            if key != "response_time"
            for difference in _compare(f"{path}[{key!r}]", left[key], right[key], free)
        ]
    both_nan = left != left and right != right
    return [] if both_nan or left == right else [path]


def _compare_column(path: str, name: str, left: Any, right: Any, free: Collection[str]) -> list[str]:
    if name in free:
        return [] if type(left) is type(right) else [path]
    return _compare(path, left, right, free)
