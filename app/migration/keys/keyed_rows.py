"""Rows of the target by their keys: which are there, which a page gives, and the rows themselves as pages."""

import json
from collections.abc import AsyncIterator, Iterable, Sequence

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.migration.load.statements import aliases, key_array, listed, names_of, typed_key_array
from app.migration.sources.source import VERSION, Page, key_of, read_page, records_of
from app.migration.tables.copy_table import CopyTable
from app.migration.target.target_session import as_json
from app.state.fetching import fetch_column, fetch_value
from app.state.json_keys import keys_json
from app.stores.supabase.grammar import alias


def versioned_rows(table: CopyTable, columns: int) -> sql.Composed:
    """A CTE `page` with the first columns of the page in parameter 1, as text, and its rows' versions."""
    some = table.columns[:columns]
    return sql.SQL(
        "page ({}, {version}) AS MATERIALIZED (SELECT * FROM json_to_recordset(%s::json) AS x ({}, {version} text))"
    ).format(names_of(some), aliases(some), version=sql.Identifier(VERSION))


async def page_keys(connection: AsyncConnection, table: CopyTable, body: bytes) -> set[Key]:
    """The keys of a page as the target writes them."""
    query = sql.SQL("WITH {} SELECT {} FROM page p").format(
        versioned_rows(table, table.key_size), typed_key_array(table)
    )
    return set(map(tuple, await fetch_column(connection, query, [as_json(body)])))


def of_keys(table: CopyTable) -> sql.Composed:
    """A FROM item `k` with the keys of the JSON array in a parameter, and the condition that row `t` has that key."""
    columns = listed(
        sql.SQL("(j.value ->> {})::{} AS {}").format(sql.Literal(i), sql.SQL(column.type), sql.Identifier(f"k{i}"))
        for i, column in enumerate(table.key)
    )
    same = listed(
        (
            sql.SQL("t.{} = k.{}").format(sql.Identifier(column.name), sql.Identifier(f"k{i}"))
            for i, column in enumerate(table.key)
        ),
        " AND ",
    )
    return sql.SQL("(SELECT {} FROM json_array_elements(%s::json) j) k JOIN {} t ON {}").format(
        columns, table.rows, same
    )


def page_of_keys(keys: Iterable[Key]) -> bytes:
    """The body of a page that has nothing but keys."""
    return json.dumps([{alias(i): part for i, part in enumerate(key)} for key in keys]).encode()


async def keys_of(connection: AsyncConnection, table: CopyTable, body: bytes) -> set[Key]:
    """The keys of a page: as the source writes them, but for those that depend on its time zone."""
    if any(column.zoned for column in table.key):
        return await page_keys(connection, table, body)
    return {key_of(record, table) for record in records_of(body)}


async def existing_keys(connection: AsyncConnection, table: CopyTable, keys: Sequence[Key]) -> set[Key]:
    """Those of the keys that the target holds."""
    query = sql.SQL("SELECT {} FROM {}").format(key_array(table, "t"), of_keys(table))
    return set(map(tuple, await fetch_column(connection, query, [keys_json(keys)])))


async def delete_rows(connection: AsyncConnection, table: CopyTable, keys: Sequence[Key]) -> int:
    """Delete the target's rows of these keys; returns how many there were."""
    delete = sql.SQL("DELETE FROM {table} t WHERE ({names}) IN (SELECT {names} FROM {found})").format(
        table=table.rows, names=names_of(table.key, "t"), found=of_keys(table)
    )
    return (await connection.execute(delete, [keys_json(keys)])).rowcount


_ROWS = 200
_BYTES = 2_000_000


async def target_pages(connection: AsyncConnection, table: CopyTable, keys: Sequence[Key]) -> AsyncIterator[Page]:
    """The rows of these keys that the target holds now; a page of several rows has no more than 2 MB."""
    columns = sql.SQL(", ").join(
        sql.SQL("t.{}::text AS {}").format(sql.Identifier(column.name), sql.Identifier(alias(position)))
        for position, column in enumerate(table.columns)
    )
    query = sql.SQL("SELECT json_agg(page)::text FROM (SELECT {} FROM {}) page").format(columns, of_keys(table))
    groups = [list(keys[first : first + _ROWS]) for first in range(0, len(keys), _ROWS)]
    while groups:
        group = groups.pop(0)
        rows = await fetch_value(connection, query, [keys_json(group)])
        if rows is None:
            continue
        body = rows.encode()
        if len(body) > _BYTES and len(group) > 1:
            middle = len(group) // 2
            groups[:0] = [group[:middle], group[middle:]]
        elif page := read_page(body, table):
            yield page
