"""A page of JSON in the text format of COPY, which a server reads in a fraction of the time that JSON takes it."""

from __future__ import annotations

import json
from typing import Any

from app.rest import alias

_NULL = r"\N"
_ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def copy_text(body: bytes, columns: int) -> bytes | None:
    """The rows of a page for `COPY ... FROM STDIN`; None for a page that is not of texts and nulls as asked for.

    Format: PostgreSQL, "COPY", "Text Format".

    Args:
        body: see `app.migration.source.Page`.
        columns: how many, under the aliases of the pages.
    """
    names = [alias(position) for position in range(columns)]
    try:
        rows = [_line([record[name] for name in names]) for record in json.loads(body)]
        return "\n".join([*rows, ""]).encode()
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _line(values: list[Any]) -> str:
    line = "\t".join([_NULL if value is None else value for value in values])
    plain = (
        line.count("\\") == values.count(None)
        and line.count("\t") == len(values) - 1
        and "\n" not in line
        and "\r" not in line
    )
    if plain:
        return line
    return "\t".join([_NULL if value is None else value.translate(_ESCAPED) for value in values])
