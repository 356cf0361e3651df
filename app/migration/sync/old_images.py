"""Old images of rows that a sync writes over or deletes, on either side, and that nobody else would have any more.

Each function that keeps several gives the images' numbers in `botdata.replaced_rows`.
"""

from collections.abc import Sequence

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.migration.keys import keyed_rows
from app.migration.load.statements import any_differs, key_array, listed, page_rows, same_key, typed_key_array
from app.migration.sources.source import VERSION
from app.migration.tables.copy_table import CopyTable
from app.migration.target.target_session import as_json, read_page
from app.state.fetching import fetch_column
from app.state.json_keys import keys_json
from app.state.runs import before_images, row_versions, writes
from app.stores.postgres.cursors import rendered


async def keep_later(connection: AsyncConnection, run: int, table: CopyTable, body: bytes) -> list[int]:
    """Keep the target's rows that differ from the page's, and that changed later by their changed-at column."""
    if table.changed_at is None:
        return []
    later = sql.SQL("page p {}").format(_differing(table, "t.{changed} > p.{changed}::{type}"))
    query = sql.SQL("WITH {} {} RETURNING number").format(page_rows(table), _keep(run, table, later))
    return await _keep_rows(connection, query, body)


async def keep_foreign(connection: AsyncConnection, run: int, table: CopyTable, keys: Sequence[Key]) -> int:
    """Keep those of the target's rows that are about to be deleted, and did not come from the source as they are.

    Returns:
        How many there are.
    """
    foreign = sql.SQL("{} WHERE NOT {} AND t.xmin::text NOT IN {}").format(
        keyed_rows.of_keys(table),
        row_versions.is_paired(table.name, key_array(table, "t"), "target", sql.SQL("t.xmin::text")),
        writes.ours(table.name),
    )
    return (await connection.execute(_keep(run, table, foreign), [keys_json(keys)])).rowcount


async def keep_later_of_source(connection: AsyncConnection, run: int, table: CopyTable, body: bytes) -> list[int]:
    """Keep the page's rows that differ from the target's, and that changed later by their changed-at column.

    An image that is there already is not kept twice.
    """
    if table.changed_at is None:
        return []
    later = _differing(table, "p.{changed}::{type} > t.{changed}")
    return await _keep_of_source(connection, run, table, body, page_rows(table), later)


async def keep_unknown(connection: AsyncConnection, run: int, table: CopyTable, body: bytes) -> int:
    """Keep the page's rows, which are about to be deleted, unless the target is known to have had them as they are."""
    known = row_versions.is_paired(table.name, typed_key_array(table), "source", sql.Identifier("p", VERSION))
    page = keyed_rows.versioned_rows(table, len(table.columns))
    return len(await _keep_of_source(connection, run, table, body, page, sql.SQL("WHERE NOT {}").format(known)))


async def keep_taken_out(connection: AsyncConnection, run: int, table: CopyTable, body: bytes) -> None:
    """Keep the page's rows, which are about to be taken out of the source for a moment."""
    await _keep_of_source(connection, run, table, body, page_rows(table), sql.SQL("").format(), taken_out=True)


def _differing(table: CopyTable, condition: str) -> sql.Composed:
    """What joins the rows `t` of the target that differ from a page's row `p`, by a condition on their changed-at."""
    (column,) = (column for column in table.columns if column.name == table.changed_at)
    return sql.SQL("JOIN {table} t ON {same} WHERE {condition} AND ({different})").format(
        table=table.rows,
        same=same_key(table),
        condition=sql.SQL(condition).format(changed=sql.Identifier(column.name), type=sql.SQL(column.type)),
        different=any_differs(table),
    )


def _keep(run: int, table: CopyTable, rows: sql.Composed) -> sql.Composed:
    """Keep rows `t` of the target."""
    image = before_images.image(table.kept)
    return before_images.keep_images(run, table.name, key=key_array(table, "t"), image=image, rows=rows)


async def _keep_of_source(
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
        key=typed_key_array(table),
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
    return await _keep_rows(connection, query, body)


async def _keep_rows(connection: AsyncConnection, query: sql.Composed, body: bytes) -> list[int]:
    """Of a page with a text that is no value of its type, the others; such a row is refused, and replaces nothing."""
    statement = rendered(query)

    async def keep(rows: bytes) -> list[int]:
        return await fetch_column(connection, statement, [as_json(rows)])

    async def keep_none(row: bytes) -> list[int]:
        return []

    return [number for part in await read_page(connection, body, keep, keep_none) for number in part]
