"""The key by which rows are told apart, and whether the target has the unique index that an upsert goes by."""

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import AsyncConnection, sql
from sqlalchemy import Table, UniqueConstraint

from app.migration.tables.copy_table import identifier_of, named
from app.migration.tables.models_description import of_expressions

# Of a whole table: neither partial nor on expressions. One that PostgreSQL did not finish making serves nobody.
_UNIQUE_INDEXES = """
SELECT i.relname, x.indimmediate,
    (SELECT o.contype FROM pg_constraint o WHERE o.conindid = x.indexrelid AND o.contype IN ('p', 'u') LIMIT 1),
    array_agg(a.attname::text ORDER BY k.place), bool_and(a.attnotnull)
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
CROSS JOIN LATERAL unnest(x.indkey::smallint[]) WITH ORDINALITY k (number, place)
JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.number
WHERE x.indrelid = to_regclass(%s) AND x.indisunique AND x.indisvalid AND x.indpred IS NULL AND x.indexprs IS NULL
AND k.place <= x.indnkeyatts GROUP BY i.relname, x.indimmediate, x.indexrelid ORDER BY i.relname
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
    cursor = await connection.execute(_UNIQUE_INDEXES, [qualified])
    return [
        UniqueIndex(name, immediate, constraint, tuple(columns), not_null)
        for name, immediate, constraint, columns, not_null in await cursor.fetchall()
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
