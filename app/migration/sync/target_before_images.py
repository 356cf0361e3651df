"""Old images of the target's rows that a sync writes over or deletes, and that nobody else would have any more."""

import json
from collections.abc import Sequence

import psycopg
from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.migration.keys import keyed_rows
from app.migration.load.statements import key_array, listed, page_rows, same_key, text_differs
from app.migration.sources.pages import records_of
from app.migration.tables.copy_table import CopyTable
from app.migration.target.target_session import JsonBytes, is_row_fault
from app.state.json_keys import keys_json
from app.state.runs import before_images, row_versions, writes
from app.stores.postgres.cursors import rendered


async def keep_later(connection: AsyncConnection, run: int, table: CopyTable, body: bytes) -> list[int]:
    """Keep the target's rows that differ from the page's, and that changed later by their changed-at column.

    Returns:
        The images' numbers in `botdata.replaced_rows`.
    """
    if table.changed_at is None:
        return []
    rest = table.columns[table.key_size :]
    (column,) = (column for column in table.columns if column.name == table.changed_at)
    later = sql.SQL("page p JOIN {table} t ON {same} WHERE t.{changed} > p.{changed}::{type} AND ({different})").format(
        table=table.rows,
        same=same_key(table),
        changed=sql.Identifier(column.name),
        type=sql.SQL(column.type),
        different=listed(map(text_differs("t", "p", source_is_text=True), rest), " OR "),
    )
    query = sql.SQL("WITH {} {} RETURNING number").format(page_rows(table), _keep(run, table, later))
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


async def keep_foreign(connection: AsyncConnection, run: int, table: CopyTable, keys: Sequence[Key]) -> int:
    """Keep those of the rows about to be deleted that did not come from the source as they are; returns how many."""
    foreign = sql.SQL("{} WHERE NOT {} AND t.xmin::text NOT IN {}").format(
        keyed_rows.of_keys(table),
        row_versions.is_paired(table.name, key_array(table, "t"), "target", sql.SQL("t.xmin::text")),
        writes.ours(table.name),
    )
    return (await connection.execute(_keep(run, table, foreign), [keys_json(keys)])).rowcount


def _keep(run: int, table: CopyTable, rows: sql.Composed) -> sql.Composed:
    """Keep rows `t` of the target."""
    image = before_images.image(table.kept, "t")
    return before_images.keep_images(run, table.name, key=key_array(table, "t"), image=image, rows=rows)
