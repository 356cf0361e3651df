"""Rows as the JSON that PostgreSQL's `json_to_recordset` reads, in one parameter or in one request's body.

Both backends write this text: the repositories hand it to `json_to_recordset`, and so does PostgREST.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from operator import itemgetter
from typing import Any
from uuid import UUID

from sqlalchemy import Table

Values = Mapping[str, Any]


def in_key_order(table: Table, rows: Sequence[Values]) -> list[Values]:
    """Rows in the order of their natural key, so that no two statements at once wait for each other."""
    return sorted(rows, key=itemgetter(*table.info["natural_key"]))


def by_shape(table: Table, rows: Sequence[Values]) -> dict[tuple[str, ...], list[Values]]:
    """Rows grouped by which columns they give, in the order of each group's first row."""
    order = table.c.keys()
    shapes: dict[tuple[str, ...], list[Values]] = {}
    known: dict[tuple[str, ...], list[Values]] = {}  # by the columns as rows give them: nearly always alike
    for row in rows:
        given = tuple(row)
        members = known.get(given)
        if members is None:
            shape = tuple(name for name in order if name in row)
            members = known[given] = shapes.setdefault(shape, [])
        members.append(row)
    return shapes


def encode(value: object) -> str:
    """The JSON text of a value, or of rows as a list of dictionaries: None as null, numerics and dates as strings.

    Raises:
        TypeError: a type that no column takes.
        ValueError: a float that JSON has no word for.
    """
    return json.dumps(value, default=_as_string, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _as_string(value: object) -> Any:
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, time):
        # Python lacks PostgreSQL's 24:00:00, which is read as time.max; writing it back must not change it.
        return "24:00:00" if value == time.max else value.isoformat()
    raise TypeError(f"no column takes a {type(value).__name__}")
