"""Reads from a catalog what a model says of a table: columns, keys, checks, indexes and comments.

Names and expressions are read as a session with an empty search path writes them, which is what the revisions'
environment compares with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

_TABLES = """
SELECT c.oid, n.nspname AS schema, c.relname AS name, obj_description(c.oid, 'pg_class') AS comment
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (n.nspname = ANY (%(schemas)s) OR c.oid = ANY (%(tables)s)) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
AND c.relname <> 'alembic_version'
AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY n.nspname <> 'public', n.nspname, c.relname
"""
# A domain's or an array's own type is described by what it is made of, up to the first that Python has a form for.
_COLUMNS = """
SELECT a.attrelid AS table_oid, a.attname AS name, a.atttypid AS type_oid, a.atttypmod AS modifier,
    format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull OR t.typnotnull AS not_null, a.attidentity AS identity,
    a.attgenerated AS generated, pg_get_expr(d.adbin, d.adrelid) AS "default",
    col_description(a.attrelid, a.attnum) AS comment, s.identity_options
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN LATERAL (
    SELECT jsonb_build_object('start', seqstart, 'increment', seqincrement, 'minvalue', seqmin, 'maxvalue', seqmax,
        'cycle', seqcycle, 'cache', seqcache) AS identity_options
    FROM pg_sequence WHERE a.attidentity <> ''
    AND seqrelid = pg_get_serial_sequence(a.attrelid::regclass::text, a.attname)::regclass
) s ON true
WHERE a.attrelid = ANY (%(oids)s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
"""
_CONSTRAINTS = """
SELECT c.conrelid AS table_oid, c.conname AS name, c.contype AS kind, c.condeferrable AS deferrable,
    c.condeferred AS deferred, c.confdeltype AS on_delete, c.confupdtype AS on_update, n.nspname AS parent_schema,
    p.relname AS parent, coalesce(i.indnkeyatts, cardinality(c.conkey)) AS key_size,
    coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false) AS nulls_not_distinct,
    (SELECT format(' (%%s)', string_agg(quote_ident(a.attname), ', ' ORDER BY k.place))
        FROM jsonb_array_elements_text(nullif(to_jsonb(c) -> 'confdelsetcols', 'null')) WITH ORDINALITY k (number,
            place)
        JOIN pg_attribute a ON a.attrelid = c.conrelid
            AND a.attnum = k.number::int HAVING count(*) > 0) AS sets_columns,
    CASE WHEN c.contype = 'c' THEN pg_get_expr(c.conbin, c.conrelid) END AS check,
    ARRAY(SELECT a.attname::text FROM unnest(coalesce(i.indkey::int2[], c.conkey)) WITH ORDINALITY k (number, place)
        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number WHERE k.number > 0 ORDER BY k.place)
        AS columns,
    ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY k (number, place)
        JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.number ORDER BY k.place) AS parent_columns
FROM pg_constraint c LEFT JOIN pg_index i ON i.indexrelid = c.conindid AND c.contype IN ('p', 'u')
LEFT JOIN pg_class p ON p.oid = c.confrelid LEFT JOIN pg_namespace n ON n.oid = p.relnamespace
WHERE c.conrelid = ANY (%(oids)s) AND c.contype IN ('p', 'u', 'f', 'c') ORDER BY c.conrelid, c.conname
"""
# Each part as the server writes it, with its order where that is not the usual one.
_INDEXES = """
SELECT i.indrelid AS table_oid, x.relname AS name, i.indisunique AS unique, m.amname AS method,
    pg_get_expr(i.indpred, i.indrelid, true) AS where,
    coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false) AS nulls_not_distinct,
    NOT EXISTS (SELECT FROM unnest(i.indkey::int2[]) k WHERE k = 0) AS plain,
    (SELECT jsonb_agg(jsonb_build_array(pg_get_indexdef(i.indexrelid, k.place::int, true), a.attname,
        CASE WHEN k.place <= i.indnkeyatts THEN i.indoption[k.place - 1] END,
        CASE WHEN k.place <= i.indnkeyatts AND NOT o.opcdefault THEN o.opcname END) ORDER BY k.place)
    FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (number, place)
    LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number AND k.number > 0
    LEFT JOIN pg_opclass o ON o.oid = CASE WHEN k.place <= i.indnkeyatts THEN i.indclass[k.place - 1] END) AS parts,
    i.indnkeyatts AS key_size
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
WHERE i.indrelid = ANY (%(oids)s) AND NOT EXISTS (
    SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.contype IN ('p', 'u', 'x'))
ORDER BY i.indrelid, x.relname
"""
_TYPES = """
WITH RECURSIVE used AS (
    SELECT oid, typelem, typbasetype FROM pg_type WHERE oid = ANY (%(types)s)
    UNION SELECT t.oid, t.typelem, t.typbasetype FROM used u JOIN pg_type t ON t.oid IN (u.typelem, u.typbasetype)
)
SELECT t.oid, t.typname AS name, n.nspname AS schema, t.typtype AS kind, t.typnotnull AS not_null,
    CASE WHEN t.typelem <> 0 AND t.typlen = -1 THEN t.typelem END AS element, t.typtypmod AS modifier,
    nullif(t.typbasetype, 0) AS base, format_type(t.oid, NULL) AS written,
    ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder) AS labels
FROM used JOIN pg_type t USING (oid) JOIN pg_namespace n ON n.oid = t.typnamespace
"""


@dataclass(frozen=True, slots=True)
class DescribedType:
    """A type; `element` and `base` are the oids of what an array or a domain is made of."""

    oid: int
    name: str
    schema: str
    kind: str
    not_null: bool
    element: int | None
    modifier: int
    base: int | None
    written: str
    labels: list[str]


@dataclass(frozen=True, slots=True)
class DescribedColumn:
    """A column; `type` is as the server writes it, `identity` and `generated` are pg_attribute's letters."""

    table_oid: int
    name: str
    type_oid: int
    modifier: int
    type: str
    not_null: bool
    identity: str
    generated: str
    default: str | None
    comment: str | None
    identity_options: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class DescribedConstraint:
    """A constraint; `kind`, `on_delete` and `on_update` are pg_constraint's letters.

    Attributes:
        sets_columns: those that a deletion sets, in brackets, where these are not all of the key's.
        columns: those of a key first (`key_size` of them), then those that its index carries along.
    """

    table_oid: int
    name: str
    kind: str
    deferrable: bool
    deferred: bool
    on_delete: str
    on_update: str
    parent_schema: str | None
    parent: str | None
    key_size: int
    nulls_not_distinct: bool
    sets_columns: str | None
    check: str | None
    columns: list[str]
    parent_columns: list[str]


@dataclass(frozen=True, slots=True)
class DescribedIndex:
    """An index that no constraint owns.

    Attributes:
        plain: it is on columns alone.
        parts: for each its text, its column's name, pg_index.indoption and the operator class that is not the default.
    """

    table_oid: int
    name: str
    unique: bool
    method: str
    where: str | None
    nulls_not_distinct: bool
    plain: bool
    parts: list[tuple[str, str | None, int | None, str | None]]
    key_size: int


@dataclass(slots=True)
class DescribedTable:
    """A table that rows are moved of: none that is a partition of another."""

    oid: int
    schema: str
    name: str
    comment: str | None
    columns: list[DescribedColumn] = field(default_factory=list)
    constraints: list[DescribedConstraint] = field(default_factory=list)
    indexes: list[DescribedIndex] = field(default_factory=list)

    @property
    def primary_key(self) -> DescribedConstraint | None:
        """The table's primary key, where it has one."""
        return next((constraint for constraint in self.constraints if constraint.kind == "p"), None)


async def describe_tables(
    connection: AsyncConnection, schemas: Sequence[str], tables: Sequence[int] = ()
) -> tuple[list[DescribedTable], dict[int, DescribedType]]:
    """The tables of the schemas and those given by oid, those of `public` first; and the types that they use, by oid.

    Raises:
        psycopg.Error: the server refuses.
    """
    async with connection.transaction():
        await connection.execute("SET LOCAL search_path = ''")
        cursor = connection.cursor(row_factory=class_row(DescribedTable))
        await cursor.execute(_TABLES, {"schemas": list(schemas), "tables": list(tables)})
        by_oid = {table.oid: table for table in await cursor.fetchall()}
        arguments: dict[str, list[int]] = {"oids": list(by_oid)}
        rows = connection.cursor(row_factory=dict_row)
        for row in await (await rows.execute(_COLUMNS, arguments)).fetchall():
            by_oid[row["table_oid"]].columns.append(DescribedColumn(**row))
        for row in await (await rows.execute(_CONSTRAINTS, arguments)).fetchall():
            by_oid[row["table_oid"]].constraints.append(DescribedConstraint(**row))
        for row in await (await rows.execute(_INDEXES, arguments)).fetchall():
            by_oid[row["table_oid"]].indexes.append(DescribedIndex(**row))
        used = {column.type_oid for table in by_oid.values() for column in table.columns}
        types = connection.cursor(row_factory=class_row(DescribedType))
        await types.execute(_TYPES, {"types": list(used)})
        return list(by_oid.values()), {found.oid: found for found in await types.fetchall()}
