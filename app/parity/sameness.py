"""Whether two answers are the same: for the tests, and for the parity check."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from app.cutover.shadow.value_diff import ValueDifference, value_differences
from app.data_layer.result import Result

_TIMED = frozenset({"response_time"})  # what a health check says of its time, and no column is called


def differences(left: Result[Any], right: Result[Any], arguments: Sequence[Any] | None = None) -> list[str]:
    """Where two answers to one call differ, as paths such as `data[3].total_spent`; empty when they are the same.

    Values must be equal and of one type; NaN equals NaN. Messages and timestamps are not compared, nor is the time that
    a health check took.

    Args:
        arguments: those of the call. With them, columns that a store fills by itself (ids, and defaults from its
            clock, as the models say) are compared by type only, unless a row among the arguments gives them. Without
            them everything is compared, as between a store and its copy.
    """
    found: list[ValueDifference] = []
    for name in ("success", "error_code", "operation"):
        found += value_differences(name, getattr(left, name), getattr(right, name))
    found += value_differences("metadata", _timeless(left), _timeless(right))
    filled = _TIMED if arguments is None else _store_filled() | _TIMED
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
    timed = _TIMED if answer.operation == "health_check" else frozenset()
    return {name: value for name, value in answer.metadata.items() if name not in timed}


@cache
def _store_filled() -> frozenset[str]:
    from app import models

    tables = models.Base.metadata.tables.values()
    return frozenset(column.name for table in tables for column in table.columns if models.store_filled(column))


def _without(names: frozenset[str], row: Any) -> frozenset[str]:
    return names - row.keys() if isinstance(row, Mapping) else names
