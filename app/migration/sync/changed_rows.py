"""Rows that may have changed since both sides were seen equal, and the pairs of versions that say they have not."""

from collections.abc import Sequence

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.migration.keys.key_listing import require_whole, select_keys, source_keys
from app.migration.keys.keyed_rows import versioned_rows
from app.migration.load.statements import key_array, listed, same_key, same_source_key, text_differs
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import VERSION, Source
from app.migration.sync.options import SyncOptions
from app.migration.tables.copy_table import CopyTable
from app.migration.target.target_session import JsonBytes
from app.migration.verify.by_hash.hash_comparison import record_equal_rows
from app.state.runs import row_versions


async def unsettled_keys(connection: AsyncConnection, table: CopyTable, *, missing: bool, most: int) -> list[Key]:
    """Keys of the source, no more than `most`, whose rows' versions are not those of the pair.

    Args:
        missing: those too that the target does not hold.
    """
    return await row_versions.unsettled_keys(
        connection,
        table.name,
        rows=table.rows,
        key=key_array(table, "s"),
        same=same_source_key(table),
        version=sql.Identifier(VERSION),
        missing=missing,
        most=most,
    )


async def changed_keys(
    connection: AsyncConnection, source: Source, table: CopyTable, options: SyncOptions, *, stand: bool, missing: bool
) -> list[Key] | None:
    """Keys of rows that may have changed since both sides were seen equal; None: more than are asked for by key.

    Where they are more, as at the first sync after a copy, rows that are equal by their hashes are left out first.

    Args:
        stand: row versions tell which values have changed.
        missing: rows too that the target does not hold.
    """
    if not table.version or (options.dry_run and not stand):  # pairs may be there that tell nothing
        return None
    most = options.most_by_key
    keys = await unsettled_keys(connection, table, missing=missing, most=most + 1)
    hashes = source.pace.max_rate is None and not options.dry_run  # they have the source read all rows at once
    if len(keys) > most and isinstance(source, PostgresSource) and hashes:
        await record_equal_rows(connection, source, table.with_made)
        keys = await unsettled_keys(connection, table, missing=missing, most=most + 1)
    return keys if len(keys) <= most else None


async def record_pairs(connection: AsyncConnection, table: CopyTable, body: bytes) -> int:
    """Record the pairs of a page's rows that the target holds with the same text; returns how many those are.

    Raises:
        psycopg.Error: class 22: a text of the page is no value of its column's type.
    """
    rest = table.columns[table.key_size :]
    different = (
        listed(map(text_differs("t", "p", source_is_text=True), rest), " OR ") if rest else sql.SQL("false").format()
    )
    statement = row_versions.record_pairs(
        table.name,
        page=versioned_rows(table, "page", len(table.columns)),
        rows=table.rows,
        key=key_array(table, "t"),
        same=same_key(table),
        version=sql.Identifier(VERSION),
        different=different,
    )
    cursor = await connection.execute(statement, [JsonBytes(body)])
    return cursor.rowcount


async def still_listed(
    connection: AsyncConnection, source: Source, table: CopyTable, keys: Sequence[Key], *, is_repeated: bool
) -> int:
    """How many of these keys the source lists, though it gave no row for them when it was asked.

    Args:
        is_repeated: the next round lists them anyway, so that until then all of them count.
    """
    if not keys or is_repeated:
        return len(keys)
    async with source_keys(connection, source, table, versions=True) as listing:
        require_whole(listing, source, table, step="sync", pending="the rest of this round")
        query = sql.SQL("SELECT DISTINCT {} FROM source_keys s").format(key_array(table, "s"))
        return len(await select_keys(connection, query.as_string(connection)) & set(keys))
