"""Foreign keys that lead out of the tables that are moved, such as to auth.users: how many rows would lack theirs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import AsyncConnection, sql
from sqlalchemy import Table

from app.common.schemas import said
from app.errors import StoreError
from app.migration.preflight.findings import Finding, finding
from app.migration.preflight.schemas.catalog import CatalogTable
from app.migration.sources.source import Source, records_of
from app.migration.tables.copy_table import (
    CopyColumn,
    CopyTable,
    identifier_of,
    key_columns,
    label,
    name_of,
    named,
    schema_of,
)
from app.migration.tables.grants import grant_select, grant_usage
from app.state.fetching import fetch_rows, fetch_value
from app.stores.supabase.grammar import alias

# Those that hold new rows up to their parent. A partition's follow the partitioned table's.
_LEADING_OUT = """
SELECT SAID, t.relname, o.conname, rn.nspname, r.relname,
    ARRAY(SELECT a.attname::text FROM unnest(o.conkey) WITH ORDINALITY k (attnum, place)
        JOIN pg_attribute a USING (attnum) WHERE a.attrelid = o.conrelid ORDER BY place),
    ARRAY(SELECT a.attname::text FROM unnest(o.confkey) WITH ORDINALITY k (attnum, place)
        JOIN pg_attribute a USING (attnum) WHERE a.attrelid = o.confrelid ORDER BY place),
    ARRAY(SELECT format_type(a.atttypid, -1) FROM unnest(o.confkey) WITH ORDINALITY k (attnum, place)
        JOIN pg_attribute a USING (attnum) WHERE a.attrelid = o.confrelid ORDER BY place),
    has_schema_privilege(rn.oid, 'USAGE'), has_table_privilege(r.oid, 'SELECT'), quote_ident(current_user)
FROM pg_constraint o
JOIN pg_class t ON t.oid = o.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_class r ON r.oid = o.confrelid JOIN pg_namespace rn ON rn.oid = r.relnamespace
WHERE o.contype = 'f' AND o.conparentid = 0 AND coalesce((to_jsonb(o) ->> 'conenforced')::boolean, true)
AND o.conrelid = ANY (%(tables)s::regclass[]) AND o.confrelid <> ALL (%(tables)s::regclass[])
ORDER BY 1, 2, 3
""".replace("SAID", said("n.nspname"))


@dataclass(frozen=True, slots=True)
class LeadingOut:
    """A foreign key of the target from a table that is moved to one that is not.

    Attributes:
        child: the table's name, see `label`.
        theirs, types: the parent's columns, and their types.
        may_use, may_read: the role's rights on the parent's schema and on the parent.
        role: quoted.
    """

    schema: str
    table: str
    name: str
    parent_schema: str
    parent: str
    ours: list[str]
    theirs: list[str]
    types: list[str]
    may_use: bool
    may_read: bool
    role: str

    @property
    def sentence(self) -> str:
        """What it is, and where it leads."""
        child = label(self.schema, self.table)
        return (
            f"{self.name} of the target's {child} leads to {self.parent_schema}.{self.parent}, which is not among the "
            "tables that are moved"
        )

    @property
    def lacking(self) -> sql.Composed:
        """The query that counts rows whose values are not there: of arrays of texts, and of how many rows have each."""
        given = [sql.Identifier(f"v{position}") for position in range(len(self.ours))]
        same = sql.SQL(" AND ").join(
            sql.SQL("p.{} = v.{}::{}").format(sql.Identifier(theirs), value, sql.SQL(kind))
            for theirs, value, kind in zip(self.theirs, given, self.types, strict=True)
        )
        arrays = sql.SQL(", ").join([sql.SQL("%s::text[]")] * len(given))
        return sql.SQL(
            "SELECT coalesce(sum(v.rows), 0)::bigint FROM unnest(%s::bigint[], {arrays}) v (rows, {names}) "
            "WHERE NOT EXISTS (SELECT FROM {parent} p WHERE {same})"
        ).format(
            arrays=arrays,
            names=sql.SQL(", ").join(given),
            parent=sql.Identifier(self.parent_schema, self.parent),
            same=same,
        )


async def keys_leading_out(
    connection: AsyncConnection, tables: Sequence[Table], catalog: dict[str, CatalogTable]
) -> list[LeadingOut]:
    """Those of the target, by its catalog."""
    there = [named(connection, identifier_of(table)) for table in tables if name_of(table) in catalog]
    return [LeadingOut(*row) for row in await fetch_rows(connection, _LEADING_OUT, {"tables": there})]


async def parent_findings(
    tables: Sequence[Table], keys: Sequence[LeadingOut], ends: tuple[AsyncConnection, Source] | None = None
) -> list[Finding]:
    """A finding for each key: a warning where rows of the source would lack their row in the target's parent.

    Args:
        ends: the target and the source, to count such rows; None: nothing is counted.
    """
    found = []
    for key in keys:
        table = next(one for one in tables if (schema_of(one), one.name) == (key.schema, key.table))
        rows = None
        remedy = "botdata preflight counts the rows that would lack theirs"
        if ends is not None and key_columns(table) and set(key.ours) <= set(table.columns.keys()):
            if key.may_use and key.may_read:
                rows, remedy = await _count_lacking(*ends, table, key), "use one type on both sides"
            else:
                grants = [] if key.may_use else [grant_usage(key.parent_schema, key.role)]
                remedy = "; ".join([*grants, grant_select(key.parent_schema, key.parent, key.role)])
        found.append(_finding(table, key, rows, remedy))
    return found


def keys_of_models_alone(tables: Sequence[Table], catalog: dict[str, CatalogTable]) -> list[Finding]:
    """A notice for each foreign key of the models that leads out of the tables, and that the target has not."""
    moved = {table.fullname for table in tables}
    found = []
    for table in tables:
        there = catalog.get(name_of(table))
        if there is None:
            continue
        known = {one.columns for one in there.constraints if one.kind == "f"}
        for one in sorted(table.foreign_key_constraints, key=lambda one: list(one.column_keys)):
            parent = one.elements[0].target_fullname.rpartition(".")[0]
            columns = ", ".join(one.column_keys)
            if parent not in moved and tuple(one.column_keys) not in known:
                found.append(
                    finding(
                        "target-parent-not-moved",
                        f"the models' foreign key {name_of(table)} ({columns}) leads to {parent}, which is not among "
                        "the tables that are moved; the target has no such key",
                        "nothing, where the application does without it",
                        table=name_of(table),
                        severity="notice",
                    )
                )
    return found


async def _count_lacking(target: AsyncConnection, source: Source, table: Table, key: LeadingOut) -> int | None:
    """How many rows of the source would lack theirs, page by page; None where the values cannot be compared."""
    primary = key_columns(table)
    names = [*primary, *(name for name in key.ours if name not in primary)]
    reduced = CopyTable(
        key.schema,
        key.table,
        tuple(CopyColumn(name, "text", False) for name in names),
        len(primary),
        always_identity=False,
        replaces_rows=False,
        has_only=True,
    )
    places = [alias(names.index(name)) for name in key.ours]
    lacking = 0
    try:
        async for page in source.pages(reduced):
            values = Counter(tuple(record[place] for place in places) for record in records_of(page.body))
            named = {value: rows for value, rows in values.items() if None not in value}
            if named:
                columns = [list(column) for column in zip(*named, strict=True)]
                lacking += await fetch_value(target, key.lacking, [list(named.values()), *columns])
    except (StoreError, psycopg.DataError, psycopg.errors.UndefinedFunction):
        return None
    return lacking


def _finding(table: Table, key: LeadingOut, rows: int | None, remedy: str) -> Finding:
    if rows is None:
        said = "how many rows would lack their row there was not counted"
    elif rows == 0:
        said, remedy = "no row would lack its row there", "nothing"
    else:
        said = f"{rows:,} row{'s' if rows > 1 else ''} would lack their row there"
        remedy = (
            f"bring those rows of {key.parent_schema}.{key.parent} to the target; without them a copy leaves the key "
            "NOT VALID, and says how to prove it afterwards"
        )
    return finding(
        "target-parent-not-moved",
        f"{key.sentence}: {said}",
        remedy,
        table=name_of(table),
        severity="warning" if rows or (rows is None and not (key.may_use and key.may_read)) else "notice",
    )
