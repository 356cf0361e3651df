"""Old images of the source's rows that a reverse sync writes over or deletes, where the target never had them so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.migration.load.statements import listed, page_rows, same_key, text_differs
from app.migration.sources.source import VERSION
from app.migration.sync import row_versions as versions
from app.migration.sync.before_images import keep_rows
from app.migration.tables.copy_table import CopyTable
from app.stores.postgres.session import rendered


async def keep_later(connection: AsyncConnection, run: int, table: CopyTable, body: bytes) -> list[int]:
    """Keep the page's rows that differ from the target's, and that changed later by their changed-at column.

    Returns:
        The images' numbers in `botdata.replaced_rows`; an image that is there already is not kept twice.
    """
    if table.changed_at is None:
        return []
    (column,) = (column for column in table.columns if column.name == table.changed_at)
    later = sql.SQL("JOIN {table} t ON {same} WHERE p.{changed}::{type} > t.{changed} AND ({different})").format(
        table=table.rows,
        same=same_key(table),
        changed=sql.Identifier(column.name),
        type=sql.SQL(column.type),
        different=listed(map(text_differs("t", "p", source_is_text=True), table.columns[table.key_size :]), " OR "),
    )
    return await _keep(connection, run, table, body, page_rows(table), later)


async def keep_unknown(connection: AsyncConnection, run: int, table: CopyTable, body: bytes) -> int:
    """Keep the page's rows, which are about to be deleted, unless the target is known to have had them as they are."""
    unknown = sql.SQL(
        "WHERE NOT EXISTS (SELECT FROM botdata.row_versions v "
        "WHERE v.table_name = {name} AND v.key = {key} AND v.source_xid = p.{version})"
    ).format(name=sql.Literal(table.name), key=_key(table), version=sql.Identifier(VERSION))
    page = versions.versioned_rows(table, "page", len(table.columns))
    return len(await _keep(connection, run, table, body, page, unknown))


async def only_replaced(connection: AsyncConnection, images: Sequence[int], refused: Iterable[Key]) -> int:
    """Drop the images of rows that could not be written over after all; returns how many stay."""
    if not images:
        return 0
    cursor = await connection.execute(
        sql.SQL("DELETE FROM botdata.replaced_rows WHERE number = ANY (%s) AND ") + versions.AMONG_KEYS,
        [list(images), versions.keys_json(refused)],
    )
    return len(images) - cursor.rowcount


async def _keep(
    connection: AsyncConnection, run: int, table: CopyTable, body: bytes, page: sql.Composed, condition: sql.Composed
) -> list[int]:
    query = sql.SQL(
        "WITH {page}, old AS (SELECT {key} AS key, json_object(ARRAY[{names}]::text[], ARRAY[{texts}]::text[]) "
        "AS image FROM page p {condition}) INSERT INTO botdata.replaced_rows (run_id, table_name, key, row_text) "
        "SELECT {run}::bigint, {name}, key, image FROM old WHERE NOT EXISTS (SELECT FROM botdata.replaced_rows r "
        "WHERE r.table_name = {name} AND r.key = old.key AND r.row_text::text = old.image::text) RETURNING number"
    ).format(
        page=page,
        key=_key(table),
        names=listed(sql.Literal(name) for name in table.names),
        texts=listed(sql.Identifier("p", name) for name in table.names),
        condition=condition,
        run=sql.Literal(run),
        name=sql.Literal(table.name),
    )
    return await keep_rows(connection, rendered(query), body)


def _key(table: CopyTable) -> sql.Composed:
    """The key of a page's row, as the target writes it."""
    return sql.SQL("ARRAY[{}]").format(
        listed(
            sql.SQL("p.{}::{}::text").format(sql.Identifier(column.name), sql.SQL(column.type)) for column in table.key
        )
    )
