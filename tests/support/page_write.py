"""What the page server understands of PostgREST's writes: inserts, upserts and deletions, each one SQL statement."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tests.support.page_query import (
    Statement,
    UnknownRequestError,
    names_of,
    quote_identifier,
    relation_of,
    select_of,
    where_of,
)

_RESOLUTIONS = {"resolution=merge-duplicates", None}
_RETURNS = {"return=representation", "return=minimal", None}


class RefusedRequestError(Exception):
    """PostgREST refuses the request before it asks the database: a code of its own and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Preferences:
    """What a Prefer header asks of a write."""

    resolution: str | None
    returning: str | None

    @classmethod
    def of(cls, header: str) -> "Preferences":
        """Read the header; `UnknownRequestError` where it asks for more than these two."""
        asked = [item.strip() for item in header.split(",") if item.strip()]
        given = {item.partition("=")[0]: item for item in asked}
        if given.keys() - {"resolution", "return"}:
            raise UnknownRequestError(f"the preference {header!r}")
        preferences = cls(given.get("resolution"), given.get("return"))
        if preferences.resolution not in _RESOLUTIONS or preferences.returning not in _RETURNS:
            raise UnknownRequestError(f"the preference {header!r}")
        return preferences

    @property
    def applied(self) -> dict[str, str]:
        """The header that says what was heeded, in PostgREST's order."""
        heeded = [item for item in (self.resolution, self.returning) if item]
        return {"Preference-Applied": ", ".join(heeded)} if heeded else {}

    @property
    def represents(self) -> bool:
        """Whether the rows are asked for."""
        return self.returning == "return=representation"


def insert_statement(
    table: str,
    parameters: Sequence[tuple[str, str]],
    preferences: Preferences,
    body: bytes,
    *,
    schema: str = "public",
) -> Statement:
    """The statement for a POST: rows written, whether one is new, the rows as JSON text.

    PostgREST sends the body to `json_to_recordset` as it came; the types are those of the table.
    """
    named = dict(parameters)
    if named.keys() - {"select", "columns", "on_conflict"}:
        raise UnknownRequestError(f"the parameters {sorted(named)}")
    columns = names_of(named["columns"]) if "columns" in named else _keys_of(body)
    quoted = [quote_identifier(name) for name in columns]
    conflict = ""
    if preferences.resolution:
        keys = ", ".join(quote_identifier(name) for name in names_of(named["on_conflict"]))
        conflict = f" ON CONFLICT ({keys}) DO UPDATE SET {', '.join(f'{name} = EXCLUDED.{name}' for name in quoted)}"
    relation = relation_of(schema, table)
    rows = "CASE json_typeof($1::json) WHEN 'array' THEN $1::json ELSE json_build_array($1::json) END"
    write = (
        f"INSERT INTO {relation} AS {quote_identifier(table)} ({', '.join(quoted)}) SELECT {', '.join(quoted)} "
        f"FROM json_populate_recordset(NULL::{relation}, {rows}){conflict} RETURNING *, xmax = 0 AS is_new"
    )
    return _returning(table, write, named.get("select"), [body])


def update_statement(
    table: str, parameters: Sequence[tuple[str, str]], body: bytes, *, schema: str = "public"
) -> Statement:
    """The statement for a PATCH, in the same form."""
    values = [body]
    where = where_of(table, parameters, values)
    relation = relation_of(schema, table)
    changes = ", ".join(f"{name} = body.{name}" for name in map(quote_identifier, _keys_of(body)))
    write = (
        f"UPDATE {relation} SET {changes} FROM json_populate_record(NULL::{relation}, $1::json) body{where} "
        f"RETURNING {quote_identifier(table)}.*, false AS is_new"
    )
    return _returning(table, write, dict(parameters).get("select"), values)


def delete_statement(table: str, parameters: Sequence[tuple[str, str]], *, schema: str = "public") -> Statement:
    """The statement for a DELETE, in the same form."""
    values: list[bytes] = []
    where = where_of(table, parameters, values)
    write = f"DELETE FROM {relation_of(schema, table)}{where} RETURNING *, false AS is_new"
    return _returning(table, write, dict(parameters).get("select"), values)


def _returning(table: str, write: str, select: str | None, values: list[bytes]) -> Statement:
    written = quote_identifier(table)
    shown = "NULL"
    if select is not None:
        columns = select_of(table, select)
        shown = f"SELECT coalesce(json_agg(row), '[]')::text FROM (SELECT {columns} FROM {written}) row"
    return Statement(
        f"WITH {written} AS ({write}) SELECT (SELECT count(*) FROM {written}), "
        f"(SELECT coalesce(bool_or(is_new), false)::int FROM {written}), ({shown})",
        values,
    )


def _keys_of(body: bytes) -> list[str]:
    try:
        rows = json.loads(body)
    except ValueError:
        raise RefusedRequestError("PGRST102", "Empty or invalid json") from None
    shapes = {tuple(sorted(row)) for row in (rows if isinstance(rows, list) else [rows])}
    if len(shapes) > 1:
        raise RefusedRequestError("PGRST102", "All object keys must match")
    return list(shapes.pop()) if shapes else []
