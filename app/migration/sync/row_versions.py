"""Row versions: which rows have changed on either side since both were known to be equal.

A pair (the source's xmin, the target's xmin) is recorded when a row has the same text on both sides. While both stand,
the row is settled and is not read again. The same pairs serve both directions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.migration.copy.completeness import select_keys
from app.migration.copy.key_listing import require_whole, source_keys
from app.migration.load.statements import aliases, key_array, listed, names_of, same_key, same_source_key, text_differs
from app.migration.sources.pages import key_of, records_of
from app.migration.sources.source import VERSION, Source
from app.migration.tables.copy_table import CopyTable
from app.migration.target.target_session import JsonBytes

# A condition: the key of one of the tool's own rows is among those of `keys_json` in a parameter.
AMONG_KEYS = sql.SQL("key IN (SELECT ARRAY(SELECT json_array_elements_text(k)) FROM json_array_elements(%s::json) k)")


def versioned_rows(table: CopyTable, name: str, columns: int) -> sql.Composed:
    """A CTE with the first columns of the page in parameter 1, as text, and its rows' versions."""
    some = table.columns[:columns]
    return sql.SQL(
        "{} ({}, {version}) AS MATERIALIZED (SELECT * FROM json_to_recordset(%s::json) AS x ({}, {version} text))"
    ).format(sql.Identifier(name), names_of(some), aliases(some), version=sql.Identifier(VERSION))


async def unsettled_keys(connection: AsyncConnection, table: CopyTable, *, missing: bool, most: int) -> list[Key]:
    """Keys of the source, no more than `most`, whose rows' versions are not those of the pair.

    A foreign table gives 0 for the xmin of each row, which tells nothing.

    Args:
        missing: those too that the target does not hold.
    """
    query = sql.SQL(
        "SELECT DISTINCT {key} FROM source_keys s {join} {table} t ON {same} "
        "LEFT JOIN botdata.row_versions v ON v.table_name = {name} AND v.key = {key} "
        "WHERE v.source_xid IS DISTINCT FROM s.{version} OR s.{version} IS NULL OR s.{version} = '0' "
        "OR v.target_xid IS DISTINCT FROM t.xmin::text OR t.xmin IS NULL "
        "LIMIT {most}"
    ).format(
        join=sql.SQL("LEFT JOIN" if missing else "JOIN"),
        key=key_array(table, "s"),
        table=table.rows,
        same=same_source_key(table),
        name=sql.Literal(table.name),
        version=sql.Identifier(VERSION),
        most=sql.Literal(most),
    )
    return sorted(await select_keys(connection, query.as_string(connection)))


async def forget_gone(connection: AsyncConnection, table: CopyTable) -> None:
    """Drop the pairs of rows that the source no longer has."""
    await connection.execute(
        sql.SQL(
            "DELETE FROM botdata.row_versions v WHERE v.table_name = {} "
            "AND NOT EXISTS (SELECT FROM source_keys s WHERE {} = v.key)"
        ).format(sql.Literal(table.name), key_array(table, "s"))
    )


async def forget(connection: AsyncConnection, table: CopyTable, keys: Iterable[Key]) -> None:
    """Drop the pairs of these rows."""
    await connection.execute(
        sql.SQL("DELETE FROM botdata.row_versions WHERE table_name = %s AND ") + AMONG_KEYS,
        [table.name, keys_json(keys)],
    )


async def record_pairs(connection: AsyncConnection, table: CopyTable, body: bytes) -> int:
    """Record the pairs of a page's rows that the target holds with the same text; returns how many those are.

    Raises:
        psycopg.Error: class 22: a text of the page is no value of its column's type.
    """
    rest = table.columns[table.key_size :]
    different = (
        listed(map(text_differs("t", "p", source_is_text=True), rest), " OR ") if rest else sql.SQL("false").format()
    )
    cursor = await connection.execute(
        sql.SQL(
            "WITH {page} INSERT INTO botdata.row_versions (table_name, key, source_xid, target_xid) "
            "SELECT DISTINCT ON (1, 2) {name}, {key}, p.{version}, t.xmin::text FROM page p JOIN {table} t ON {same} "
            "WHERE p.{version} IS NOT NULL AND NOT ({different}) ON CONFLICT (table_name, key) "
            "DO UPDATE SET source_xid = excluded.source_xid, target_xid = excluded.target_xid"
        ).format(
            page=versioned_rows(table, "page", len(table.columns)),
            name=sql.Literal(table.name),
            key=key_array(table, "t"),
            version=sql.Identifier(VERSION),
            table=table.rows,
            same=same_key(table),
            different=different,
        ),
        [JsonBytes(body)],
    )
    return cursor.rowcount


async def page_keys(connection: AsyncConnection, table: CopyTable, body: bytes) -> set[Key]:
    """The keys of a page as the target writes them."""
    query = sql.SQL("WITH {} SELECT ARRAY[{}] FROM page p").format(
        versioned_rows(table, "page", table.key_size),
        listed(
            sql.SQL("p.{}::{}::text").format(sql.Identifier(column.name), sql.SQL(column.type)) for column in table.key
        ),
    )
    cursor = await connection.execute(query, [JsonBytes(body)])
    return {tuple(row[0]) for row in await cursor.fetchall()}


def keys_json(keys: Iterable[Key]) -> JsonBytes:
    """Keys as a parameter: a JSON array of arrays."""
    return JsonBytes(json.dumps([list(key) for key in keys]).encode())


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


async def still_listed(connection: AsyncConnection, source: Source, table: CopyTable, keys: Sequence[Key]) -> int:
    """How many of these keys the source lists, though it gave no row for them when it was asked."""
    if not keys:
        return 0
    async with source_keys(connection, source, table, versions=True) as listing:
        require_whole(listing, source, table, step="sync", pending="the rest of this round")
        query = sql.SQL("SELECT DISTINCT {} FROM source_keys s").format(key_array(table, "s"))
        return len(await select_keys(connection, query.as_string(connection)) & set(keys))


async def keys_of(connection: AsyncConnection, table: CopyTable, body: bytes) -> set[Key]:
    """The keys of a page: as the source writes them, but for those that depend on its time zone."""
    if any(column.zoned for column in table.key):
        return await page_keys(connection, table, body)
    return {key_of(record, table) for record in records_of(body)}


async def existing_keys(connection: AsyncConnection, table: CopyTable, keys: Sequence[Key]) -> set[Key]:
    """Those of the keys that the target holds."""
    query = sql.SQL("SELECT {} FROM {}").format(key_array(table, "t"), of_keys(table))
    cursor = await connection.execute(query, [keys_json(keys)])
    return {tuple(row[0]) for row in await cursor.fetchall()}


async def delete_rows(connection: AsyncConnection, table: CopyTable, keys: Sequence[Key]) -> int:
    """Delete the target's rows of these keys; returns how many there were."""
    cursor = await connection.execute(
        sql.SQL("DELETE FROM {table} t WHERE ({names}) IN (SELECT {names} FROM {found})").format(
            table=table.rows, names=names_of(table.key, "t"), found=of_keys(table)
        ),
        [keys_json(keys)],
    )
    return cursor.rowcount
