"""A source over a database connection: its catalog and counts, and whether rows are hidden from the role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from psycopg import AsyncConnection, sql
from sqlalchemy import Table

from app.migration.connection import connect, source_errors
from app.migration.preflight.catalog import CatalogTable, read_all
from app.migration.preflight.findings import finding
from app.migration.preflight.source_schema import SourceSeen, SourceTable
from app.migration.tables import name_of

_RIGHTS = """
SELECT has_table_privilege(c.oid, 'SELECT'), row_security_active(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s
"""


@asynccontextmanager
async def connect_to_source(url: str) -> AsyncIterator[AsyncConnection]:
    """A read-only session on the source.

    Raises:
        MigrationError: the address of a transaction pooler.
        StoreError: it cannot be reached, or refuses.
    """
    with source_errors():
        async with await connect(url, setting="--source", step="preflight", read_only=True) as connection:
            await connection.execute("SET row_security = on")  # hidden rows are a finding here, not an end
            yield connection


async def see_postgres(connection: AsyncConnection, tables: Sequence[Table]) -> SourceSeen:
    """Look at the source's catalog, rights and row counts."""
    catalog = await read_all(connection, tables)
    names = {name_of(table) for table in tables}
    seen = SourceSeen(others=sorted(name for name in catalog.keys() - names if catalog[name].kind in "rp"))
    seen.others = [name for name in seen.others if name != "alembic_version"]
    for table in tables:
        if name_of(table) in catalog:
            seen.tables[name_of(table)] = await _table(connection, table, catalog[name_of(table)], seen)
    return seen


async def _table(connection: AsyncConnection, table: Table, found: CatalogTable, seen: SourceSeen) -> SourceTable:
    there = SourceTable(name_of(table))
    there.columns = {column.name: column.type for column in found.columns.values() if not column.generated}
    there.missing = [c.name for c in table.columns if c.computed is None and c.name not in found.columns]
    rights = await (await connection.execute(_RIGHTS, [table.schema or "public", table.name])).fetchone()
    readable, hidden = rights or (False, False)
    if not readable:
        seen.findings.append(
            finding(
                "source-privilege-missing",
                f"the source's role may not read {found.name}",
                f"GRANT SELECT ON {found.quoted} TO the role of --source",
                table=name_of(table),
            )
        )
        return there
    if hidden:
        seen.findings.append(
            finding(
                "source-rows-hidden",
                f"row-level security of {found.name} applies to the source's role, and may hide rows without an error",
                "use the tables' owner or a role with BYPASSRLS",
                table=name_of(table),
            )
        )
    query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table.schema or "public", table.name))
    row = await (await connection.execute(query)).fetchone()
    there.rows = row[0] if row else None
    return there
