"""Reads a PostgreSQL's catalog: what preflight compares and `schema replace` lists."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.common.schemas import DATA, schemas_of
from app.migration.preflight.schemas.type_passages import USER_TYPES, UserType
from app.migration.tables.copy_table import label, schema_of
from app.state.fetching import fetch_rows


@dataclass(frozen=True, slots=True)
class CatalogColumn:
    """A column, its type as `format_type` prints it; `user_type` where that is not PostgreSQL's own."""

    name: str
    type: str
    not_null: bool
    default: str | None
    generated: bool
    identity: str
    user_type: UserType | None = None


@dataclass(frozen=True, slots=True)
class CatalogConstraint:
    """A constraint: kind is `p`, `u`, `f`, `c` or `x`, as in pg_constraint.contype."""

    name: str
    kind: str
    columns: tuple[str, ...]
    definition: str


@dataclass(frozen=True, slots=True)
class CatalogIndex:
    """An index that belongs to no constraint; not valid: PostgreSQL did not finish making it."""

    name: str
    definition: str
    valid: bool


@dataclass(slots=True)
class CatalogTable:
    """A table, view or foreign table; `kind` as in pg_class.relkind, `name` with its schema unless that is public.

    Attributes:
        triggers: names of those of the user's that are enabled.
    """

    name: str
    kind: str
    quoted: str = ""
    columns: dict[str, CatalogColumn] = field(default_factory=dict)
    constraints: list[CatalogConstraint] = field(default_factory=list)
    indexes: list[CatalogIndex] = field(default_factory=list)
    triggers: list[str] = field(default_factory=list)

    @property
    def own(self) -> str:
        """A prefix of its name after FROM, by which the rows of tables that inherit from it are left out."""
        return "ONLY " if self.kind in "rf" else ""

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Its columns; empty where there is none."""
        return next((one.columns for one in self.constraints if one.kind == "p"), ())


# What an extension made is not the user's.
_TABLES = """
SELECT c.relname, c.relkind, CASE n.nspname WHEN 'public' THEN '' ELSE quote_ident(n.nspname) || '.' END
    || quote_ident(c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT EXISTS (SELECT FROM pg_depend e
    WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e') ORDER BY c.relname
"""
_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
    a.attgenerated <> '', a.attidentity
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE n.nspname = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY c.relname, a.attnum
"""
# A foreign key to a partitioned table has a copy for each partition, on the same table.
_CONSTRAINTS = """
SELECT c.relname, o.conname, o.contype, pg_get_constraintdef(o.oid), ARRAY(SELECT a.attname::text
    FROM unnest(o.conkey) WITH ORDINALITY k (number, position)
    JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.number ORDER BY k.position)
FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND o.contype IN ('p', 'u', 'f', 'c', 'x')
AND NOT EXISTS (SELECT FROM pg_constraint up WHERE up.oid = o.conparentid AND up.conrelid = o.conrelid)
ORDER BY c.relname, o.conname
"""
_INDEXES = """
SELECT c.relname, i.relname, pg_get_indexdef(x.indexrelid), x.indisvalid
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = x.indexrelid
    AND o.conrelid = x.indrelid)
ORDER BY c.relname, i.relname
"""
_TRIGGERS = """
SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') ORDER BY c.relname, t.tgname
"""


async def read_all(connection: AsyncConnection, models: Sequence[Table]) -> dict[str, CatalogTable]:
    """The tables and views of the data's schema, and of those that the models name, by name (see `label`)."""
    tables: dict[str, CatalogTable] = {}
    for schema in {schema_of(model) for model in models} | {DATA}:
        tables |= await read_tables(connection, schema)
    return tables


async def read_tables(connection: AsyncConnection, schema: str = DATA) -> dict[str, CatalogTable]:
    """The tables and views of a schema by name (see `label`), without what extensions made."""

    async def rows(statement: str) -> list[tuple[Any, ...]]:
        found = await fetch_rows(connection, statement, [schemas_of(connection).named(schema)])
        return [(label(schema, name), *rest) for name, *rest in found]

    tables = {name: CatalogTable(name, kind, quoted) for name, kind, quoted in await rows(_TABLES)}

    async def of_tables(statement: str) -> list[tuple[Any, ...]]:
        return [(tables[name], *rest) for name, *rest in await rows(statement) if name in tables]

    for table, *column in await of_tables(_COLUMNS):
        table.columns[column[0]] = CatalogColumn(*column)
    for table, name, base, of_extension, labels in await of_tables(USER_TYPES):
        table.columns[name] = replace(table.columns[name], user_type=UserType(base, of_extension, tuple(labels)))
    for table, name, kind, definition, columns in await of_tables(_CONSTRAINTS):
        table.constraints.append(CatalogConstraint(name, kind, tuple(columns), definition))
    for table, *index in await of_tables(_INDEXES):
        table.indexes.append(CatalogIndex(*index))
    for table, name in await of_tables(_TRIGGERS):
        table.triggers.append(name)
    return tables
