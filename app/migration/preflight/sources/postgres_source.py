"""A source over a database connection: its catalog and counts, and whether rows are hidden from the role."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from psycopg import AsyncConnection, sql
from sqlalchemy import Table

from app.common.schemas import said, schemas_of
from app.migration.preflight.findings import finding
from app.migration.preflight.schemas.catalog import CatalogTable, read_all
from app.migration.preflight.schemas.source_schema import SourceSeen, SourceTable
from app.migration.tables.copy_table import label, name_of, quoted
from app.state.fetching import fetch_rows, fetch_value
from app.stores.postgres.session import connect, set_for_all, source_errors

_RIGHTS = """
SELECT has_schema_privilege(n.oid, 'USAGE'), row_security_active(c.oid), ARRAY(SELECT a.attname::text
    FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname = ANY (%s)
    AND NOT has_column_privilege(c.oid, a.attnum, 'SELECT') ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s
"""
_PARTITIONS = """
SELECT SAID, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relispartition
""".replace("SAID", said("n.nspname"))


@asynccontextmanager
async def connect_to_source(url: str) -> AsyncIterator[AsyncConnection]:
    """A read-only session on the source.

    Raises:
        StoreError: it cannot be reached, or refuses.
    """
    with source_errors():
        async with await connect(url, setting="--source", step="preflight", read_only=True) as connection:
            await set_for_all(connection, "SET row_security = on")  # hidden rows are a finding here, not an end
            yield connection


async def see_postgres(connection: AsyncConnection, tables: Sequence[Table]) -> SourceSeen:
    """Look at the source's catalog, rights and row counts."""
    catalog = await read_all(connection, tables)
    names = {name_of(table) for table in tables}
    seen = SourceSeen(others=sorted(name for name in catalog.keys() - names if catalog[name].kind in "rp"))
    # A partition's rows are its table's, which is copied or named itself.
    partitions = {label(*row) for row in await fetch_rows(connection, _PARTITIONS)}
    seen.others = [name for name in seen.others if name != "alembic_version" and name not in partitions]
    seen.role = await fetch_value(connection, "SELECT quote_ident(current_user)")
    for table in tables:
        if name_of(table) in catalog:
            seen.tables[name_of(table)] = await _table(connection, table, catalog[name_of(table)], seen)
    return seen


async def _table(connection: AsyncConnection, table: Table, found: CatalogTable, seen: SourceSeen) -> SourceTable:
    columns = found.columns.values()
    there = SourceTable(
        name_of(table),
        columns={column.name: column.type for column in columns},
        generated={column.name for column in columns if column.generated},
        missing=[column.name for column in table.columns if column.name not in found.columns],
        user_types={column.name: column.user_type for column in columns if column.user_type},
        own=found.own,
    )
    wanted, schema = table.columns.keys(), table.schema or schemas_of(connection).data
    rights = await fetch_rows(connection, _RIGHTS, [wanted, schema, table.name])
    may_use, hidden, there.denied = rights[0] if rights else (False, False, wanted)
    present = [name for name in wanted if name not in there.missing]
    if not may_use or (present and len(there.denied) == len(present)):
        usage = "" if may_use else f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {seen.role}; "
        seen.findings.append(
            finding(
                "source-privilege-missing",
                f"the source's role may not read {found.name}",
                f"{usage}GRANT SELECT ON {found.quoted} TO {seen.role}",
                table=name_of(table),
            )
        )
        there.denied = present
        return there
    seen.findings += [
        finding(
            "source-privilege-missing",
            f"the source's role may not read {found.name}.{name}",
            f"GRANT SELECT ON {found.quoted} TO {seen.role}",
            table=name_of(table),
            column=name,
        )
        for name in there.denied
    ]
    if hidden:
        seen.findings.append(
            finding(
                "source-rows-hidden",
                f"row-level security of {found.name} applies to the source's role, and may hide rows without an error",
                "use the tables' owner or a role with BYPASSRLS",
                table=name_of(table),
            )
        )
    query = sql.SQL("SELECT count(*) FROM {}{}").format(sql.SQL(found.own), sql.Identifier(schema, table.name))
    there.rows = await fetch_value(connection, query)
    return there
