"""Select lists, names and operands as PostgREST's grammar takes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from postgrest import AsyncRequestBuilder

# Names of a query's own parameters, which PostgREST would not take for a column
_RESERVED = {"select", "columns", "on_conflict", "order", "limit", "offset", "and", "or", "not"}


def as_text(columns: Sequence[str]) -> str:
    """A select list that asks for each column as PostgreSQL's own text, exact for every type.

    The values come under `alias(0)`, `alias(1)` and so on: shorter than the columns' names, and some servers take
    `order=id` beside `id::text` for an order by that text.
    """
    return ",".join(f"{alias(position)}:{quoted_name(column)}::text" for position, column in enumerate(columns))


def selected(table: AsyncRequestBuilder, select_list: str) -> Any:
    """`table.select(select_list)` as it is: the client drops blanks that follow an escaped quotation mark in a name."""
    builder = table.select("*")
    builder.request.params = builder.request.params.set("select", select_list)
    return builder


def alias(position: int) -> str:
    """The name in an answer of the column at a position of `as_text`."""
    return f"_{position}"


def quoted_name(name: str) -> str:
    """A column's name as PostgREST's grammar takes it: quoted where it is not plain, or a word of the grammar."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and name not in _RESERVED:
        return name
    return in_list([name])[1:-1]


def in_list(values: list[str]) -> str:
    """The operand of PostgREST's `in` operator, every value quoted."""
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "(" + ",".join(f'"{value}"' for value in escaped) + ")"
