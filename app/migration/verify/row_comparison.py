"""Decides whether rows that a source sent are equal to the target's: column by column, as text, by the target."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.migration.load.statements import key_array, listed, names_of, page_rows, same_key, same_key_text, text_differs
from app.migration.sources.source import Source, key_of, records_of
from app.migration.tables.copy_table import CopyColumn, CopyTable
from app.migration.target.target_session import as_json, is_row_fault, read_page
from app.state.fetching import fetch_column, fetch_rows
from app.stores.postgres.cursors import rendered


@dataclass(frozen=True, slots=True)
class UnequalRow:
    """A row of the source that the target lacks or holds differently.

    Attributes:
        columns: names of the columns that differ; source, target: their texts on either side.
    """

    key: Key
    missing: bool
    columns: Sequence[str]
    source: Sequence[str | None]
    target: Sequence[str | None]


@dataclass(slots=True)
class ComparedPage:
    """What the comparison of a page gave: its unequal rows, and a hash of each row's key."""

    unequal: list[UnequalRow] = field(default_factory=list)
    key_hashes: list[int] = field(default_factory=list)


async def compare_page(connection: AsyncConnection, table: CopyTable, body: bytes) -> ComparedPage:
    """Compare a page; a row with a text that its column's type refuses is found by halving.

    Raises:
        psycopg.Error: the target failed.
        UnavailableError: the page is not whole JSON.
    """
    parts = await read_page(
        connection,
        body,
        lambda rows: _compare(connection, table, rows, typed=True),
        lambda row: _compare(connection, table, row, typed=False),
    )
    return ComparedPage(
        [row for part in parts for row in part.unequal], [found for part in parts for found in part.key_hashes]
    )


async def _compare(connection: AsyncConnection, table: CopyTable, body: bytes, *, typed: bool) -> ComparedPage:
    query = rendered(_comparison(table, typed=typed))
    compared = ComparedPage()
    for key, missing, columns, source, target in await fetch_rows(connection, query, [as_json(body)]):
        if key is None:
            compared.key_hashes += map(int, target or ())
        else:
            compared.unequal.append(UnequalRow(tuple(key), missing, columns or (), source or (), target or ()))
    return compared


@dataclass(slots=True)
class RowsCompared:
    """What a look at the rows of some keys gave.

    Attributes:
        unequal: rows of the source that the target lacks or holds differently.
        records: the source's rows as it sent them, by key.
    """

    unequal: list[UnequalRow] = field(default_factory=list)
    records: dict[Key, dict[str, Any]] = field(default_factory=dict)


async def look_at(connection: AsyncConnection, source: Source, table: CopyTable, keys: Sequence[Key]) -> RowsCompared:
    """Fetch the rows of these keys from the source and compare them with the target's."""
    look = RowsCompared()
    async for page in source.rows_by_key(table, sorted(keys), listed=True):
        for record in records_of(page.body):
            look.records[key_of(record, table)] = record
        look.unequal += (await compare_page(connection, table, page.body)).unequal
    return look


async def keys_held(connection: AsyncConnection, table: CopyTable, keys: Sequence[Key]) -> set[Key]:
    """Which of these keys the target holds."""
    if not keys:
        return set()
    wanted = [json.dumps(keys)]
    try:
        held = await fetch_column(connection, rendered(_keys_held(table)), wanted)
    except psycopg.Error as error:
        if not is_row_fault(error):
            raise
        held = await fetch_column(connection, rendered(_keys_held(table, typed=False)), wanted)
    return set(map(tuple, held))


def _comparison(table: CopyTable, *, typed: bool) -> sql.Composed:
    """Rows of a page that the target lacks or holds differently.

    Not `typed`, it takes also rows with texts that are no values of their columns' types, and reads the whole table.

    Returns rows of: key (text[]), missing (bool), names of the columns that differ (text[]), the source's texts of
    these columns (text[]), the target's (text[]). And one row more, whose key is NULL and whose last column is the
    hashes of all the page's keys.
    """
    differs = text_differs("p", source_is_text=True, styled=typed)
    rest = table.columns[table.key_size :]

    def picked(value: Callable[[CopyColumn], sql.Composable]) -> sql.Composed:
        if not rest:
            return sql.SQL("ARRAY[]::text[]").format()
        cases = (sql.SQL("CASE WHEN {} THEN ARRAY[{}] END").format(differs(column), value(column)) for column in rest)
        return sql.SQL("(SELECT array_agg(v[1]) FROM (VALUES {}) AS c (v) WHERE v IS NOT NULL)").format(
            listed(sql.SQL("({})").format(case) for case in cases)
        )

    def text(column: CopyColumn) -> sql.Composed:
        name = sql.Identifier("page", column.name)
        return sql.SQL("{}::{}::text").format(name, sql.SQL(column.type if column.zoned and typed else "text"))

    return sql.SQL(
        "WITH {page} SELECT ARRAY[{key}], t.{first} IS NULL, {names}, {sources}, {targets} "
        "FROM page p LEFT JOIN {table} t ON {same} WHERE t.{first} IS NULL OR {different} "
        "UNION ALL SELECT NULL, NULL, NULL, NULL, array_agg({hash}::text) FROM page"
    ).format(
        page=page_rows(table),
        key=names_of(table.key, "p"),
        first=sql.Identifier(table.key[0].name),
        names=picked(lambda column: sql.Literal(column.name)),
        sources=picked(lambda column: sql.Identifier("p", column.name)),
        targets=picked(lambda column: sql.SQL("{}::text").format(sql.Identifier("t", column.name))),
        table=table.rows,
        same=same_key(table) if typed else same_key_text(table, "p", typed=lambda column: False),
        different=listed(map(differs, rest), " OR ") if rest else sql.SQL("false"),
        hash=_hash(table, text),
    )


def key_fingerprint(table: CopyTable) -> sql.Composed:
    """One row: how many rows the target holds, and the sum of their keys' hashes."""
    return sql.SQL("SELECT count(*), coalesce(sum({}), 0) FROM {} t").format(_hash_of("t", table), table.rows)


def keys_not_compared(table: CopyTable) -> sql.Composed:
    """Keys (text[]) of `source_keys` whose hashes are not in `compared_keys`."""
    return sql.SQL(
        "SELECT DISTINCT {} FROM source_keys s WHERE NOT EXISTS (SELECT FROM compared_keys c WHERE c.h = {}) ORDER BY 1"
    ).format(key_array(table, "s"), _hash_of("s", table))


def _keys_held(table: CopyTable, *, typed: bool = True) -> sql.Composed:
    """Which of the keys (parameter 1: a JSON array of arrays) the target holds; not `typed`, any text is taken."""
    return _keys_in(table, table.rows, lambda column: column.type if typed else None)


def keys_in_source(table: CopyTable) -> sql.Composed:
    """Which of the keys (parameter 1: a JSON array of arrays) `source_keys` holds."""
    return _keys_in(table, sql.Identifier("source_keys"), lambda column: column.type if column.zoned else None)


def _keys_in(table: CopyTable, place: sql.Composable, cast: Callable[[CopyColumn], str | None]) -> sql.Composed:
    def same(position: int, column: CopyColumn) -> sql.Composed:
        name, wanted = sql.Identifier("t", column.name), sql.Identifier("w", f"k{position}")
        if type_name := cast(column):
            return sql.SQL("{} = {}::{}").format(name, wanted, sql.SQL(type_name))
        return sql.SQL('{}::text COLLATE "C" = {}').format(name, wanted)

    keys = sql.SQL(", ").join(sql.Identifier("w", f"k{position}") for position in range(table.key_size))
    values = sql.SQL(", ").join(
        sql.SQL("e ->> {} AS {}").format(sql.Literal(position), sql.Identifier(f"k{position}"))
        for position in range(table.key_size)
    )
    return sql.SQL(
        "SELECT ARRAY[{}] FROM (SELECT {} FROM json_array_elements(%s::json) e) w "
        "WHERE EXISTS (SELECT FROM {} t WHERE {})"
    ).format(keys, values, place, sql.SQL(" AND ").join(same(*numbered) for numbered in enumerate(table.key)))


def _hash_of(prefix: str, table: CopyTable) -> sql.Composed:
    return _hash(table, lambda column: sql.SQL("{}::text").format(sql.Identifier(prefix, column.name)))


def _hash(table: CopyTable, text: Callable[[CopyColumn], sql.Composed]) -> sql.Composed:
    keys = sql.SQL(", ").join(map(text, table.key))
    return sql.SQL('hashtextextended({}::text COLLATE "C", 0)').format(
        keys if table.key_size == 1 else sql.SQL("ROW({})").format(keys)
    )
