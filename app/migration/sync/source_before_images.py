"""Old images of the source's rows that a reverse sync writes over or deletes, where the target never had them so."""

from psycopg import AsyncConnection, sql

from app.migration.keys import keyed_rows
from app.migration.load.statements import listed, page_rows, same_key, text_differs, typed_key_array
from app.migration.sources.source import VERSION
from app.migration.sync.target_before_images import keep_rows
from app.migration.tables.copy_table import CopyTable
from app.state.runs import before_images, row_versions
from app.stores.postgres.cursors import rendered


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
    known = row_versions.is_paired(table.name, typed_key_array(table, "p"), "source", sql.Identifier("p", VERSION))
    page = keyed_rows.versioned_rows(table, "page", len(table.columns))
    return len(await _keep(connection, run, table, body, page, sql.SQL("WHERE NOT {}").format(known)))


async def keep_taken_out(connection: AsyncConnection, run: int, table: CopyTable, body: bytes) -> None:
    """Keep the page's rows, which are about to be taken out of the source for a moment."""
    await _keep(connection, run, table, body, page_rows(table), sql.SQL("").format(), taken_out=True)


async def _keep(
    connection: AsyncConnection,
    run: int,
    table: CopyTable,
    body: bytes,
    page: sql.Composed,
    condition: sql.Composed,
    *,
    taken_out: bool = False,
) -> list[int]:
    key, image = sql.Identifier("old", "key"), sql.Identifier("old", "image")
    query = sql.SQL(
        "WITH {page}, old AS (SELECT {key} AS key, json_object(ARRAY[{names}]::text[], ARRAY[{texts}]::text[]) "
        "AS image FROM page p {condition}) {keep} RETURNING number"
    ).format(
        page=page,
        key=typed_key_array(table, "p"),
        names=listed(sql.Literal(name) for name in table.kept),
        texts=listed(sql.Identifier("p", name) for name in table.kept),
        condition=condition,
        keep=before_images.keep_images(
            run,
            table.name,
            key=key,
            image=image,
            rows=sql.SQL("old WHERE {} OR NOT {}").format(
                sql.Literal(taken_out), before_images.is_kept(table.name, key, image)
            ),
            taken_out=taken_out,
        ),
    )
    return await keep_rows(connection, rendered(query), body)
