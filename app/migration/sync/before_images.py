"""Old images of the target's rows that a sync writes over or deletes, and that nobody else would have any more."""

from __future__ import annotations

import json
from collections.abc import Sequence

import psycopg
from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.migration.load.statements import key_array, listed, page_rows, same_key, text_differs
from app.migration.sources.pages import records_of
from app.migration.sync import row_versions as versions
from app.migration.tables.copy_table import CopyTable
from app.migration.target.target_session import JsonBytes, is_row_fault
from app.stores.postgres.session import rendered


async def keep_later(connection: AsyncConnection, run: int, table: CopyTable, body: bytes) -> list[int]:
    """Keep the target's rows that differ from the page's, and that changed later by their changed-at column.

    Returns:
        The images' numbers in `botdata.replaced_rows`.
    """
    if table.changed_at is None:
        return []
    rest = table.columns[table.key_size :]
    (column,) = (column for column in table.columns if column.name == table.changed_at)
    name = sql.Identifier(column.name)
    query = sql.SQL(
        "WITH {page} INSERT INTO botdata.replaced_rows (run_id, table_name, key, row_text) {image} FROM page p "
        "JOIN {table} t ON {same} WHERE t.{changed} > p.{changed}::{type} AND ({different}) RETURNING number"
    ).format(
        page=page_rows(table),
        image=_image(run, table),
        table=table.rows,
        same=same_key(table),
        changed=name,
        type=sql.SQL(column.type),
        different=listed(map(text_differs("t", "p", source_is_text=True), rest), " OR "),
    )
    return await keep_rows(connection, rendered(query), body)


async def keep_rows(connection: AsyncConnection, query: str, body: bytes) -> list[int]:
    """Of a page with a text that is no value of its type, the halves; such a row is refused, and replaces nothing."""
    try:
        async with connection.transaction():
            rows = await (await connection.execute(query.encode(), [JsonBytes(body)])).fetchall()
        return [number for (number,) in rows]
    except psycopg.Error as error:
        if not is_row_fault(error):
            raise
    records = records_of(body)
    if len(records) == 1:
        return []
    middle = len(records) // 2
    halves = [json.dumps(half).encode() for half in (records[:middle], records[middle:])]
    return [number for half in halves for number in await keep_rows(connection, query, half)]


async def only_replaced(connection: AsyncConnection, images: Sequence[int]) -> int:
    """Drop the images of rows that were refused after all, in the transaction that tried; returns how many stay."""
    if not images:
        return 0
    cursor = await connection.execute(
        "DELETE FROM botdata.replaced_rows r USING botdata.quarantine q WHERE r.number = ANY(%s) "
        "AND q.table_name = r.table_name AND q.key = r.key AND q.refused_at = now()",
        [list(images)],
    )
    return len(images) - cursor.rowcount


async def keep_foreign(connection: AsyncConnection, run: int, table: CopyTable, keys: Sequence[Key]) -> int:
    """Keep those of the rows about to be deleted that did not come from the source as they are; returns how many."""
    query = sql.SQL(
        "INSERT INTO botdata.replaced_rows (run_id, table_name, key, row_text) {image} FROM {found} WHERE NOT EXISTS "
        "(SELECT FROM botdata.row_versions v WHERE v.table_name = {name} AND v.key = {key} "
        "AND v.target_xid = t.xmin::text) AND t.xmin::text NOT IN "
        "(SELECT xid FROM botdata.writes WHERE table_name = {name})"
    ).format(
        image=_image(run, table),
        found=versions.of_keys(table),
        name=sql.Literal(table.name),
        key=key_array(table, "t"),
    )
    return (await connection.execute(query, [versions.keys_json(keys)])).rowcount


def _image(run: int, table: CopyTable) -> sql.Composed:
    return sql.SQL("SELECT {}::bigint, {}, {}, json_object(ARRAY[{}]::text[], ARRAY[{}]::text[])").format(
        sql.Literal(run),
        sql.Literal(table.name),
        key_array(table, "t"),
        listed(sql.Literal(name) for name in table.names),
        listed(sql.SQL("t.{}::text").format(sql.Identifier(name)) for name in table.names),
    )
