"""What the engine knows of a table: taken from the MetaData, and the types from the target's catalog."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg import AsyncConnection, sql
from sqlalchemy import MetaData, Table
from sqlalchemy.schema import sort_tables_and_constraints

from app.errors import MigrationError

# Their text depends on the time zone of the session that wrote it, so they are compared as values, not as text.
_ZONED_TYPES = {
    "timestamp with time zone",
    "timestamp with time zone[]",
    "tstzrange",
    "tstzmultirange",
}


@dataclass(frozen=True, slots=True)
class CopyColumn:
    """A column: its name, its type without a length (`character varying`), and whether its values are phones."""

    name: str
    type: str
    phone: bool

    @property
    def zoned(self) -> bool:
        """Whether equal values may have different texts."""
        return self.type in _ZONED_TYPES


@dataclass(frozen=True, slots=True)
class CopyTable:
    """A table as the engine moves it.

    Attributes:
        columns: begin with the primary key's, in its order.
        replaces_rows: a changed row is deleted and inserted, since an update would be changed by a trigger, or is
            refused for an identity column.
        changed_at: the column that says when a row last changed, where the table has one.
        version: the column that tells one version of a row from another.
    """

    schema: str
    name: str
    columns: tuple[CopyColumn, ...]
    key_size: int
    always_identity: bool
    replaces_rows: bool
    changed_at: str | None = None
    version: str = "xmin"

    @property
    def key(self) -> tuple[CopyColumn, ...]:
        """The columns of the primary key."""
        return self.columns[: self.key_size]

    @property
    def names(self) -> list[str]:
        """Names of all columns, the key's first."""
        return [column.name for column in self.columns]

    @property
    def identifier(self) -> sql.Identifier:
        """The table's quoted name."""
        return sql.Identifier(self.schema, self.name)

    @property
    def key_holds_phone(self) -> bool:
        """Whether the key gives a phone number away."""
        return any(column.phone for column in self.key)


def select_tables(
    metadata: MetaData, *, names: Sequence[str] | None = None, groups: Iterable[str] | None = None
) -> list[Table]:
    """Tables to move, parents before children: those named, else those of the groups, else all.

    Raises:
        MigrationError: a name that is not a table's, and which names are; or two tables of one name.
    """
    tables = _in_order(metadata)
    if twice := sorted({table.name for table in tables if [one.name for one in tables].count(table.name) > 1}):
        raise MigrationError(
            f"tables of the same name in several schemas cannot be told apart: {', '.join(twice)}",
            step="choose tables",
            pending="everything; nothing was read or written",
            next_command="the same command, with a --metadata that holds one of each",
        )
    if names is not None:
        known = {table.name for table in tables}
        if unknown := sorted(set(names) - known):
            raise _not_chosen(f"no such table: {', '.join(unknown)}", known)
        if not names:
            raise _not_chosen("no table is named", known)
        return [table for table in tables if table.name in names]
    wanted = None if groups is None else set(groups)
    return [table for table in tables if wanted is None or table.info.get("group") in wanted]


def _not_chosen(message: str, known: set[str]) -> MigrationError:
    return MigrationError(
        f"{message}; the tables are {', '.join(sorted(known))}",
        step="choose tables",
        pending="everything; nothing was read or written",
        next_command="the same command, with --tables of these",
    )


def _in_order(metadata: MetaData) -> list[Table]:
    """All tables, parents before children; within a cycle of foreign keys in any order that does not change."""
    by_name = sorted(metadata.tables.values(), key=lambda table: table.key)
    ordered = sort_tables_and_constraints(by_name)  # type: ignore[no-untyped-call]
    return [table for table, _ in ordered if table is not None]


_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, -1), a.attidentity = 'a', a.attgenerated <> ''
FROM pg_attribute a WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
"""
# pg_trigger.tgtype: bit 0 row-level, bit 4 update (src/include/catalog/pg_trigger.h).
_UPDATE_TRIGGER = """
SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND NOT tgisinternal
               AND tgenabled IN ('O', 'A') AND tgtype & 1 = 1 AND tgtype & 16 = 16)
"""


async def describe(connection: AsyncConnection, table: Table, *, step: str) -> CopyTable:
    """Join what the model says with the types and triggers that the target has.

    Raises:
        MigrationError: the table or one of its columns is missing in the target, or it has no primary key.
    """
    schema = table.schema or "public"
    qualified = sql.Identifier(schema, table.name).as_string(None)
    rows = await (await connection.execute(_COLUMNS, [qualified])).fetchall()
    if not rows:
        raise MigrationError(
            f"the target has no table {schema}.{table.name}",
            step=step,
            table=table.name,
            pending=f"{table.name} and the tables after it",
            next_command=f"botdata preflight, which names all that is missing; then: botdata {step}",
        )
    types = {name: (type_name, always) for name, type_name, always, generated in rows if not generated}
    key = [column.name for column in table.primary_key]
    if not key:
        raise MigrationError(
            f"{table.name} has no primary key, so its rows cannot be told apart",
            step=step,
            table=table.name,
            pending=f"{table.name} and the tables after it",
            next_command=f"give it a primary key, or leave it out with --tables, then: botdata {step}",
        )
    generated = {column.name for column in table.columns if column.computed is not None}
    names = key + [c.name for c in table.columns if c.name not in key and c.name not in generated]
    if missing := [name for name in names if name not in types]:
        raise MigrationError(
            f"the target's table {table.name} lacks {', '.join(missing)}",
            step=step,
            table=table.name,
            pending=f"{table.name} and the tables after it",
            next_command=f"botdata preflight, which names all that is missing; then: botdata {step}",
        )
    trigger = await (await connection.execute(_UPDATE_TRIGGER, [qualified])).fetchone()
    assert trigger is not None
    replaces_rows = bool(trigger[0]) or any(types[name][1] for name in names[len(key) :])
    columns = (CopyColumn(name, types[name][0], bool(table.columns[name].info.get("phone"))) for name in names)
    return CopyTable(
        schema=schema,
        name=table.name,
        columns=tuple(columns),
        key_size=len(key),
        always_identity=any(types[name][1] for name in names),
        replaces_rows=replaces_rows,
        changed_at=table.info.get("changed_at"),
    )
