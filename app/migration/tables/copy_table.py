"""A table as the engine moves it: its columns, its key, and its names as people and as statements have them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from psycopg import AsyncConnection, sql
from sqlalchemy import Table, UniqueConstraint

from app.common.schemas import DATA, schemas_of
from app.migration.tables.column_shapes import Shape
from app.migration.tables.models_description import of_expressions
from app.state.fetching import fetch_rows


@dataclass(frozen=True, slots=True)
class CopyColumn(Shape):
    """A column of the target.

    Attributes:
        type: without a length or scale (`character varying`).
        phone: whether its values are phones.
        styled: None, too, where the source's session has the settings of the target's.
    """

    name: str
    type: str
    phone: bool

    @property
    def zoned(self) -> bool:
        """Whether the text of a value depends on the time zone of the session that wrote it."""
        return "timestamptz" in self.parts


class Heir(NamedTuple):
    """A table that inherits from another; `last`: none inherits from it."""

    schema: str
    name: str
    last: bool


@dataclass(frozen=True, slots=True)
class CopyTable:
    """A table as the engine moves it.

    Attributes:
        schema, relation_name: where the table is, on both ends, as statements say it: see app.common.schemas.
        has_only: the target's table is a plain one. Read with ONLY, it does not show the rows of tables that inherit
            from it, which are tables of their own; a partitioned table has no other rows than its partitions'.
        heirs: the tables that inherit from it, each after its own heirs.
        columns: begin with the key's, in its order.
        key_size: 0 where nothing tells its rows apart: then the table is moved as a whole, see `app.migration.whole`.
        replaces_rows: a changed row is deleted and inserted, since an update would be changed by a trigger, or is
            refused for an identity column or for a rule.
        keys_only: nothing but keys of it is kept outside of it or shown, such as of Supabase's users: see `kept`.
        has_unvalidated: checks of it, which the role may take away, are NOT VALID: see `put_aside`.
        has_rules: it has rules on inserts or updates. PostgreSQL refuses ON CONFLICT there, whether they fire or not.
        changed_at: the column that says when a row last changed, where the table has one.
        version: the column that tells one version of a row from another.
        made: columns that the target makes by itself: compared, not written.
        family: names of its partitions, and of the tables that it is a partition of: their rows are its own, too.
        silent: triggers and rules of the target are silent while its rows are written: see `put_aside`.
    """

    schema: str
    relation_name: str
    columns: tuple[CopyColumn, ...]
    key_size: int
    always_identity: bool
    replaces_rows: bool
    changed_at: str | None = None
    version: str = "xmin"
    has_only: bool = False
    heirs: tuple[Heir, ...] = ()
    made: tuple[CopyColumn, ...] = ()
    family: tuple[str, ...] = ()
    silent: bool = False
    has_rules: bool = False
    has_unvalidated: bool = False
    keys_only: bool = False

    @property
    def name(self) -> str:
        """The table's name in messages, options and the tool's own tables: see `label`."""
        return label(self.schema, self.relation_name)

    @property
    def all_names(self) -> list[str]:
        """The names by which its rows may have been written before."""
        return [self.name, *self.family]

    @property
    def key(self) -> tuple[CopyColumn, ...]:
        """The columns by which rows are told apart: see `key_columns`."""
        return self.columns[: self.key_size]

    @property
    def names(self) -> list[str]:
        """Names of all columns, the key's first."""
        return [column.name for column in self.columns]

    @property
    def kept(self) -> list[str]:
        """Names of the columns whose values may go into quarantine and into before-images."""
        return [column.name for column in (self.key if self.keys_only else self.columns)]

    @property
    def identifier(self) -> sql.Identifier:
        """The table's quoted name with its schema."""
        return sql.Identifier(self.schema, self.relation_name)

    @property
    def rows(self) -> sql.Composed:
        """What stands after FROM for the rows of the target's table itself."""
        return sql.SQL("ONLY {}" if self.has_only else "{}").format(self.identifier)

    @property
    def with_made(self) -> CopyTable:
        """The table as it is read and compared: with the columns that one side makes by itself."""
        return replace(self, columns=self.columns + self.made, made=())

    @property
    def key_holds_phone(self) -> bool:
        """Whether the key gives a phone number away."""
        return any(column.phone for column in self.key)


def label(schema: str | None, name: str) -> str:
    """A table's name as people give and read it: with its schema, unless that is the one of DATABASE_SCHEMA."""
    return name if schema in {None, DATA, "public"} else f"{schema}.{name}"


def name_of(table: Table) -> str:
    """The same of a model's table."""
    return label(table.schema, table.name)


def schema_of(table: Table) -> str:
    """A model's schema as our statements say it: `public`, written out or not, is that of DATABASE_SCHEMA."""
    return DATA if table.schema in {None, "public"} else str(table.schema)


def identifier_of(table: Table) -> sql.Identifier:
    """A model's table as our statements say it."""
    return sql.Identifier(schema_of(table), table.name)


def named(connection: AsyncConnection, identifier: sql.Identifier) -> str:
    """The quoted name itself, which a parameter of a statement and a sentence need."""
    return schemas_of(connection).named(identifier.as_string(None))


def quoted(name: str) -> str:
    """A name as it stands in such a statement: in quotes where it needs them, as a reserved word does."""
    from sqlalchemy.dialects import postgresql  # heavy, and seldom needed

    return postgresql.dialect().identifier_preparer.quote(name)  # type: ignore[no-untyped-call]


# Of a whole table: neither partial nor on expressions. One that PostgreSQL did not finish making serves nobody; one
# WITHOUT OVERLAPS is no index that ON CONFLICT can go by.
_UNIQUE_INDEXES = """
SELECT i.relname, x.indimmediate,
    (SELECT o.contype FROM pg_constraint o WHERE o.conindid = x.indexrelid AND o.contype IN ('p', 'u') LIMIT 1),
    array_agg(a.attname::text ORDER BY k.place), bool_and(a.attnotnull)
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
CROSS JOIN LATERAL unnest(x.indkey::smallint[]) WITH ORDINALITY k (number, place)
JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.number
WHERE x.indrelid = to_regclass(%s) AND x.indisunique AND x.indisvalid AND x.indpred IS NULL AND x.indexprs IS NULL
AND NOT x.indisexclusion AND k.place <= x.indnkeyatts
GROUP BY i.relname, x.indimmediate, x.indexrelid ORDER BY i.relname
"""
_KINDS = {"p": "PRIMARY KEY", "u": "UNIQUE"}


@dataclass(frozen=True, slots=True)
class UniqueIndex:
    """A valid unique index on columns of a whole table.

    Attributes:
        immediate: the constraint is not deferrable.
        constraint: `p` or `u` where it belongs to a constraint, as in pg_constraint.contype.
        not_null: none of its columns takes NULL.
    """

    name: str
    immediate: bool
    constraint: str | None
    columns: tuple[str, ...]
    not_null: bool


async def read_unique_indexes(connection: AsyncConnection, qualified: str) -> list[UniqueIndex]:
    """Those of a table by its quoted name; none where it is not there."""
    return [
        UniqueIndex(name, immediate, constraint, tuple(columns), not_null)
        for name, immediate, constraint, columns, not_null in await fetch_rows(connection, _UNIQUE_INDEXES, [qualified])
    ]


async def keeps_unique(connection: AsyncConnection, table: Table, columns: Iterable[str]) -> bool:
    """Whether a database has a unique index on these columns of a table, or on some of them."""
    wanted = set(columns)
    qualified = named(connection, identifier_of(table))
    return any(wanted.issuperset(one.columns) for one in await read_unique_indexes(connection, qualified))


def key_columns(table: Table, unique: Iterable[UniqueIndex] = ()) -> tuple[str, ...]:
    """The primary key of the model; without one the smallest unique key that takes no NULL; empty where there is none.

    Args:
        unique: the target's indexes, which are asked where the model has no such key.
    """
    if primary := tuple(table.primary_key.columns.keys()):
        return primary
    of_model = [
        names
        for names, usable in unique_in_model(table)
        if usable and not any(table.columns[name].nullable for name in names)
    ]
    if not of_model:
        known = {column.name for column in table.columns if column.computed is None}
        of_model = [one.columns for one in unique if one.immediate and one.not_null and known.issuperset(one.columns)]
    return min(of_model, key=lambda names: (len(names), names), default=())


def unique_in_model(table: Table) -> list[tuple[tuple[str, ...], bool]]:
    """Columns that the model's unique constraints and indexes keep unique of all rows, and whether at any time."""
    found = [
        (tuple(one.columns.keys()), not one.deferrable)
        for one in table.constraints
        if isinstance(one, UniqueConstraint) and len(one.columns)
    ]
    for index in table.indexes:
        partial = index.dialect_options["postgresql"]["where"] is not None
        if index.unique and not partial and len(index.columns) and not of_expressions(index):
            found.append((tuple(column.name for column in index.columns), True))
    return found


def key_trouble(quoted: str, key: Iterable[str], unique: Iterable[UniqueIndex]) -> tuple[str, str] | None:
    """What keeps ON CONFLICT from going by a key, and the statement that helps; None: nothing does.

    Args:
        quoted: the table's name as it stands in a statement.
        unique: the target's indexes.
    """
    wanted = list(key)
    columns = ", ".join(sql.Identifier(name).as_string(None) for name in wanted)
    on_key = [one for one in unique if set(one.columns) == set(wanted)]
    # PostgreSQL takes every index on these columns for the one to go by, so that a deferrable one spoils the others.
    if deferrable := next((one for one in on_key if not one.immediate), None):
        name = sql.Identifier(deferrable.name).as_string(None)
        own = ", ".join(sql.Identifier(one).as_string(None) for one in deferrable.columns)
        kind = _KINDS[deferrable.constraint or "u"]
        return (
            f"{deferrable.name}, the unique constraint on the key ({', '.join(wanted)}), is deferrable, which "
            "ON CONFLICT does not take",
            f"ALTER TABLE {quoted} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} {kind} ({own})",
        )
    if not on_key:
        return (
            f"no unique index is on the key ({', '.join(wanted)}) of whole rows, so that a row cannot be loaded again",
            f"CREATE UNIQUE INDEX ON {quoted} ({columns})",
        )
    return None
