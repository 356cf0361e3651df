"""Where two values differ, and at which path."""

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any, NamedTuple


class ValueDifference(NamedTuple):
    """A place where two values differ: a path such as `[3].total_spent`, and what each has there.

    Lists of two lengths, and dictionaries of different keys, are one place as a whole: `raw_data (keys)`.
    """

    path: str
    left: Any
    right: Any


def value_differences(
    path: str, left: Any, right: Any, by_type: Collection[str] = frozenset()
) -> list[ValueDifference]:
    """Where two values differ, below `path`; fields of a row named in `by_type` are compared by type only."""
    if type(left) is not type(right):
        return [ValueDifference(path, left, right)]
    pairs: list[tuple[str, Any, Any]]
    if isinstance(left, tuple) and hasattr(left, "_fields"):
        pairs = [
            (f"{path}.{name}", getattr(left, name), getattr(right, name))
            for name in left._fields
            if not (name in by_type and type(getattr(left, name)) is type(getattr(right, name)))
        ]
    elif isinstance(left, (list, tuple)):
        if len(left) != len(right):
            return [ValueDifference(f"{path} (length)", left, right)]
        pairs = [(f"{path}[{index}]", *pair) for index, pair in enumerate(zip(left, right, strict=True))]
    elif isinstance(left, Mapping):
        if left.keys() != right.keys():
            return [ValueDifference(f"{path} (keys)", left, right)]
        pairs = [(f"{path}[{key!r}]", left[key], right[key]) for key in left]
    elif isinstance(left, Decimal):  # with its scale
        return [] if left.as_tuple() == right.as_tuple() else [ValueDifference(path, left, right)]
    else:
        both_nan = left != left and right != right
        return [] if both_nan or left == right else [ValueDifference(path, left, right)]
    return [difference for pair in pairs for difference in value_differences(*pair, by_type)]
