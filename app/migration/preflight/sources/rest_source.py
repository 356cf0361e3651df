"""A source over REST: its tables and columns from the root document, else from its answers and errors.

Each request is tried again where its failure can pass.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table

from app.errors import StoreError
from app.migration.preflight.findings import Finding, finding
from app.migration.preflight.schemas.source_schema import SourceSeen, SourceTable, wanted_columns
from app.migration.preflight.schemas.type_passages import catalog_name
from app.migration.preflight.sources.table_looker import TableLooker
from app.migration.retry import Patiently
from app.migration.tables.copy_table import label, name_of
from app.migration.tables.grants import SERVICE_ROLE
from app.stores.supabase.client import SupabaseRest
from app.stores.supabase.grammar import quoted_name
from app.stores.supabase.request_parameters import selected

# More rows than any server gives by default, so that an answer with fewer than there are shows the cap.
_MORE_THAN_ANY_CAP = 100_000


async def see_rest(
    rest: SupabaseRest, tables: Sequence[Table], patiently: Patiently, *, role: str = SERVICE_ROLE
) -> SourceSeen:
    """Look at the source: the root document, and one row and the count of each table.

    Args:
        role: that of the key, which rights are granted to.

    Raises:
        StoreError: it cannot be reached, or refuses the key.
    """
    schemas = dict.fromkeys(table.schema or "public" for table in tables)
    definitions = {
        label(schema, name): definition
        for schema in schemas
        for name, definition in (await _root_definitions(rest, schema, patiently)).items()
    }
    seen = SourceSeen(arguments_known=False, role=role)
    limit = asyncio.Semaphore(4)

    async def look(table: Table) -> SourceTable | None:
        async with limit:
            return await _table(rest, table, definitions, patiently, seen)

    for there in await asyncio.gather(*map(look, tables), return_exceptions=True):
        if isinstance(there, BaseException):
            raise there
        if there is not None:
            seen.tables[there.name] = there
    order = [name_of(table) for table in tables]
    seen.findings.sort(key=lambda one: order.index(one.table or order[0]))
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
        return await patiently(lambda: rest.described_tables(schema))
    except StoreError:
        return {}


async def _table(
    rest: SupabaseRest, table: Table, definitions: dict[str, dict[str, Any]], patiently: Patiently, seen: SourceSeen
) -> SourceTable | None:
    """What one row, the exact count and the server's description tell; None where there is no such table."""
    looker = TableLooker(rest, table, patiently, seen)
    first = await looker.look()
    if first is None:
        return None
    there = SourceTable(name_of(table), rows=first.total, uncounted=first.total is None, denied=first.denied)
    wanted = wanted_columns(table)
    if name_of(table) in definitions:
        properties = definitions[name_of(table)].get("properties", {})
        there.columns = {name: _type(each) for name, each in properties.items()}
        there.missing = [name for name in wanted if name not in properties and name not in first.denied]
        # So PostgREST marks the columns of a primary key.
        there.primary_key = {name for name, each in properties.items() if "<pk/>" in str(each.get("description"))}
    elif first.records and not first.in_part:
        there.columns = dict.fromkeys(first.records[0])
        there.missing = [name for name in wanted if name not in first.records[0]]
    else:
        there.complete, there.in_part = False, first.in_part
        there.missing = await looker.missing([name for name in wanted if name not in first.denied])
        there.columns = {name: None for name in wanted if name not in {*there.missing, *first.denied}}
    return there


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
    if not key or key[0] in {*largest.missing, *largest.denied}:
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
