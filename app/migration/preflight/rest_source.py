"""A source over REST: its tables and columns from the root document, else from its answers and errors.

Each request is tried again where its failure can pass.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import Table

from app.errors import SchemaMismatchError, StoreError
from app.migration.pages import records_of
from app.migration.preflight.column_types import catalog_name
from app.migration.preflight.findings import Finding, finding
from app.migration.preflight.source_schema import SourceSeen, SourceTable, wanted_columns
from app.migration.tables import label, name_of
from app.rest import SupabaseRest
from app.rest_grammar import quoted_name, selected

_NO_TABLE = {"42P01", "PGRST205"}
_NO_COLUMN = {"42703", "PGRST204"}
_Answer = TypeVar("_Answer")
# More rows than any server gives by default, so that an answer with fewer than there are shows the cap.
_MORE_THAN_ANY_CAP = 100_000


class Patiently(Protocol):
    """Makes a request, as often as it takes."""

    async def __call__(self, ask: Callable[[], Awaitable[_Answer]], /) -> _Answer: ...


async def see_rest(rest: SupabaseRest, tables: Sequence[Table], patiently: Patiently) -> SourceSeen:
    """Look at the source: the root document, and one row and the count of each table.

    Raises:
        StoreError: it cannot be reached, or refuses the key.
    """
    schemas = dict.fromkeys(table.schema or "public" for table in tables)
    definitions = {
        label(schema, name): definition
        for schema in schemas
        for name, definition in (await _root_definitions(rest, schema, patiently)).items()
    }
    seen = SourceSeen(arguments_known=False)
    limit = asyncio.Semaphore(4)

    async def look(table: Table) -> SourceTable | None:
        async with limit:
            return await _table(rest, table, definitions, patiently)

    for there in await asyncio.gather(*map(look, tables), return_exceptions=True):
        if isinstance(there, BaseException):
            raise there
        if there is not None:
            seen.tables[there.name] = there
    if definitions:
        seen.others = sorted(definitions.keys() - {name_of(table) for table in tables})
    else:
        seen.findings.append(
            finding(
                "source-types-unseen",
                "the server describes no tables, so the source's types, and tables that are not copied, were not seen",
                "to have them compared: botdata preflight --source postgresql://...",
            )
        )
    seen.findings += await _row_cap(rest, tables, seen, patiently)
    return seen


async def _root_definitions(rest: SupabaseRest, schema: str, patiently: Patiently) -> dict[str, dict[str, Any]]:
    """The OpenAPI definitions of a schema by table; empty where the server gives none."""
    try:
        document = json.loads(await patiently(lambda: rest.root_document(schema)))
    except (StoreError, ValueError):
        return {}
    definitions = document.get("definitions") if isinstance(document, dict) else None
    return definitions if isinstance(definitions, dict) else {}


async def _table(
    rest: SupabaseRest, table: Table, definitions: dict[str, dict[str, Any]], patiently: Patiently
) -> SourceTable | None:
    """One row and the exact count; None where there is no such table."""
    builder = rest.table(table.name, table.schema or "public").select("*").limit(1)

    async def ask() -> tuple[list[dict[str, Any]], str]:
        response = await rest.respond(builder, headers={"Prefer": "count=exact"})
        return records_of(response.content), response.headers.get("content-range", "").rpartition("/")[2]

    try:
        records, total = await patiently(ask)
    except SchemaMismatchError as error:
        if error.sqlstate in _NO_TABLE or error.sqlstate is None:
            return None
        raise
    there = SourceTable(name_of(table), rows=int(total) if total.isdigit() else None)
    wanted = wanted_columns(table)
    generated = {column.name for column in table.columns if column.computed is not None}
    if name_of(table) in definitions:
        properties = definitions[name_of(table)].get("properties", {})
        there.columns = {name: _type(each) for name, each in properties.items() if name not in generated}
        there.missing = [name for name in wanted if name not in properties]
        # So PostgREST marks the columns of a primary key.
        there.primary_key = {name for name, each in properties.items() if "<pk/>" in str(each.get("description"))}
    elif records:
        there.columns = {name: None for name in records[0] if name not in generated}
        there.missing = [name for name in wanted if name not in records[0]]
    else:
        there.complete = False
        there.missing = await _missing_columns(rest, table, wanted, patiently)
        there.columns = {name: None for name in wanted if name not in there.missing}
    return there


async def _missing_columns(rest: SupabaseRest, table: Table, wanted: list[str], patiently: Patiently) -> list[str]:
    """Those that the server does not know: all at once, and one by one after the first failure."""
    if await _has(rest, table, wanted, patiently):
        return []
    return [name for name in wanted if not await _has(rest, table, [name], patiently)]


async def _has(rest: SupabaseRest, table: Table, columns: list[str], patiently: Patiently) -> bool:
    builder = selected(rest.table(table.name, table.schema or "public"), ",".join(map(quoted_name, columns))).limit(0)
    try:
        await patiently(lambda: rest.send(builder))
    except SchemaMismatchError as error:
        if error.sqlstate in _NO_COLUMN:
            return False
        raise
    return True


def _type(column: dict[str, Any]) -> str | None:
    text = column.get("format")
    if not isinstance(text, str):
        return None
    length = column.get("maxLength")
    name = catalog_name(text)
    return f"{name}({length})" if isinstance(length, int) and not name.endswith(("]", ")")) else name


async def _row_cap(
    rest: SupabaseRest, tables: Sequence[Table], seen: SourceSeen, patiently: Patiently
) -> list[Finding]:
    """Ask for every key of the largest table at once: fewer than there are show the server's row cap."""
    counted = [one for one in seen.tables.values() if one.rows]
    if not counted:
        return []
    largest = max(counted, key=lambda one: one.rows or 0)
    table = next(table for table in tables if name_of(table) == largest.name)
    key = table.primary_key.columns.keys()
    if not key or key[0] in largest.missing:
        return []
    builder = selected(rest.table(table.name, table.schema or "public"), f"_0:{quoted_name(key[0])}::text").limit(
        _MORE_THAN_ANY_CAP
    )
    given = len(await patiently(lambda: rest.rows(builder)))
    total = largest.rows or 0
    if given >= min(total, _MORE_THAN_ANY_CAP):
        return []
    return [
        finding(
            "source-row-cap",
            f"the server gives {given:,} rows at a time ({largest.name} has {total:,})",
            "nothing: pages are as large as the server lets them be",
        )
    ]
