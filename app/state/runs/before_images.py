"""Before-images: rows that a sync replaced or deleted, and that nobody else would have any more."""

from collections.abc import Collection, Iterable, Sequence

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.state.fetching import fetch_rows
from app.state.json_keys import AMONG_KEYS, keys_json
from app.state.schema_name import SCHEMA

_IMAGES = sql.Identifier(SCHEMA, "replaced_rows")


def image(names: Iterable[str]) -> sql.Composed:
    """A row `t` as `row_text` holds it: an object of its columns' texts."""
    listed = list(names)
    return sql.SQL("json_object(ARRAY[{}]::text[], ARRAY[{}]::text[])").format(
        sql.SQL(", ").join(map(sql.Literal, listed)),
        sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier("t", name)) for name in listed),
    )


def keep_images(
    run: int, table: str, *, key: sql.Composable, image: sql.Composable, rows: sql.Composable, taken_out: bool = False
) -> sql.Composed:
    """The statement that keeps rows as they are; an INSERT that CTEs may stand before, and RETURNING after.

    Args:
        key: a row's key, as text[].
        image: the row, as json.
        rows: what stands after FROM, with its conditions.
        taken_out: they are taken out of the source, and put back where what comes in their place is refused.
    """
    return sql.SQL(
        "INSERT INTO {} (run_id, table_name, key, row_text, taken_out) SELECT {}::bigint, {}, {}, {}, {} FROM {}"
    ).format(_IMAGES, sql.Literal(run), sql.Literal(table), key, image, sql.Literal(taken_out), rows)


def is_kept(table: str, key: sql.Composable, image: sql.Composable) -> sql.Composed:
    """A condition: the image of a row is there already."""
    return sql.SQL(
        "EXISTS (SELECT FROM {} r WHERE r.table_name = {} AND r.key = {} AND r.row_text::text = {}::text)"
    ).format(_IMAGES, sql.Literal(table), key, image)


async def only_replaced(connection: AsyncConnection, images: Sequence[int]) -> int:
    """Drop the images of rows that the target refused after all, in the transaction that tried.

    Returns:
        How many stay.
    """
    if not images:
        return 0
    cursor = await connection.execute(
        f"DELETE FROM {SCHEMA}.replaced_rows r USING {SCHEMA}.quarantine q WHERE r.number = ANY (%(images)s) "
        "AND q.table_name = r.table_name AND q.key = r.key AND q.refused_at = now()",
        {"images": list(images)},
    )
    return len(images) - cursor.rowcount


async def drop_images(connection: AsyncConnection, images: Sequence[int], keys: Iterable[Key]) -> int:
    """Drop those of the images that are of rows of these keys; returns how many stay."""
    if not images:
        return 0
    cursor = await connection.execute(
        f"DELETE FROM {SCHEMA}.replaced_rows WHERE number = ANY (%(images)s) AND {AMONG_KEYS}",
        {"images": list(images), "keys": keys_json(keys)},
    )
    return len(images) - cursor.rowcount


async def taken_out(connection: AsyncConnection, table: str) -> dict[Key, dict[str, str | None]]:
    """The rows of a table that are taken out of the source: of each column its text."""
    rows = await fetch_rows(
        connection,
        f"SELECT key, row_text FROM {SCHEMA}.replaced_rows WHERE table_name = %(table)s AND taken_out ORDER BY number",
        {"table": table},
    )
    return {tuple(key): image for key, image in rows}


async def count_taken_out(connection: AsyncConnection, tables: Collection[str]) -> dict[str, int]:
    """How many rows of each of the tables are; of those that have any."""
    return dict(
        await fetch_rows(
            connection,
            f"SELECT table_name, count(DISTINCT key) FROM {SCHEMA}.replaced_rows WHERE taken_out "
            "AND table_name = ANY (%(tables)s) GROUP BY table_name ORDER BY table_name",
            {"tables": list(tables)},
        )
    )


async def drop_taken_out(connection: AsyncConnection, table: str, keys: Iterable[Key]) -> None:
    """Drop the images of rows of a table that are back, or whose place is taken by what was to come."""
    await connection.execute(
        f"DELETE FROM {SCHEMA}.replaced_rows WHERE table_name = %(table)s AND taken_out AND {AMONG_KEYS}",
        {"table": table, "keys": keys_json(keys)},
    )
