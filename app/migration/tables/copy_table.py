"""A table as the engine moves it, its columns, and its names: as people read them, and as statements have them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from psycopg import AsyncConnection, sql
from sqlalchemy import Table

from app.common.schemas import DATA, schemas_of
from app.migration.tables.column_shapes import Shape


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

    @property
    def holds_xml(self) -> bool:
        """Whether values hold xml, whose declaration only a cast to text keeps."""
        return "xml" in self.parts


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
        has_unvalidated: checks of it, which the role may take away, are NOT VALID: see `unvalidated_checks`.
        has_rules: it has rules on inserts or updates. PostgreSQL refuses ON CONFLICT there, whether they fire or not.
        changed_at: the column that says when a row last changed, where the table has one.
        version: the column that tells one version of a row from another.
        made: columns that the target makes by itself: compared, not written.
        family: names of its partitions, and of the tables that it is a partition of: their rows are its own, too.
        silent: triggers and rules of the target are silent while its rows are written: see `silence`.
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
        """The columns by which rows are told apart: see `app.migration.tables.unique_keys`."""
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
