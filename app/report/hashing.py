"""The digest of one side of a table: counts and sums of hashes of its rows, in buckets.

Both sides are hashed in the target, where the key is. The source's rows come there as text, as `verify` has them. A
value whose text depends on the settings of a session is written as the target writes it, on either side.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import reduce

from psycopg import AsyncConnection, sql

from app.migration.load.statements import WITHOUT_ZONE, page_rows
from app.migration.sources.moved_tables import known_count
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Progress, Source
from app.migration.tables.column_shapes import INSIDE
from app.migration.tables.copy_table import CopyColumn, CopyTable
from app.migration.target.target_session import as_json, read_page
from app.migration.whole import STAGING, staged
from app.state.digests import Bucket, KeptDigest, Side, add, bucket_sums, read_sums
from app.state.fetching import fetch_rows, fetch_value
from app.stores.postgres.cursors import rendered

_Text = Callable[[CopyColumn], sql.Composable]
_NOW = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"


async def digest_target(
    connection: AsyncConnection, table: CopyTable, source: str | None, progress: Progress
) -> KeptDigest:
    """The target's rows, as of one moment.

    Args:
        table: with the columns that are hashed.
        source: the label of the source that they are held against.

    Raises:
        psycopg.Error: the target failed.
    """
    made_at = await fetch_value(connection, _NOW)
    texts = _texts(table, table.rows, lambda column: _styled(sql.Identifier("t", column.name), column))
    found = read_sums(await fetch_rows(connection, bucket_sums(table.name, texts)))
    digest = _kept(table, "target", source, made_at, None, found)
    progress.advance(table.name, digest.rows)
    return replace(digest, counted=digest.rows)


async def digest_source(
    connection: AsyncConnection, source: Source, table: CopyTable, progress: Progress
) -> KeptDigest:
    """The source's rows, page by page: what changes meanwhile is seen in part.

    Raises:
        StoreError: the source cannot be read.
        psycopg.Error: the target failed.
    """
    made_at = await fetch_value(connection, _NOW)
    buckets: dict[int, Bucket] = {}
    if table.key:
        async for page in source.pages(table):
            buckets = add(buckets, await _hash_page(connection, table, page.body))
            progress.advance(table.name, page.rows)
    else:
        assert isinstance(source, PostgresSource)  # over REST such a table is not moved
        async with staged(connection, source, table):
            texts = _texts(table, sql.Identifier("pg_temp", STAGING), _of_source)
            buckets = read_sums(await fetch_rows(connection, bucket_sums(table.name, texts)))
    return _kept(table, "source", source.label, made_at, await known_count(source, table), buckets)


def with_columns(table: CopyTable, names: Iterable[str]) -> CopyTable:
    """The table with these columns alone; the key's are always among them."""
    wanted = {*names, *(column.name for column in table.key)}
    whole = table.with_made
    return replace(whole, columns=tuple(column for column in whole.columns if column.name in wanted))


def _kept(
    table: CopyTable, side: Side, source: str | None, made_at: str, counted: int | None, buckets: dict[int, Bucket]
) -> KeptDigest:
    return KeptDigest(table.name, side, source, made_at, tuple(sorted(table.names)), counted, buckets)


async def _hash_page(connection: AsyncConnection, table: CopyTable, body: bytes) -> dict[int, Bucket]:
    """A page's buckets; a row with a text that its column's type refuses is found by halving, and hashed as it is."""
    parts = await read_page(
        connection,
        body,
        lambda rows: _hash_texts(connection, table, rows, _of_source),
        lambda row: _hash_texts(connection, table, row, lambda column: sql.Identifier("t", column.name)),
    )
    return reduce(add, parts)


async def _hash_texts(connection: AsyncConnection, table: CopyTable, body: bytes, text: _Text) -> dict[int, Bucket]:
    rows = sql.SQL("(WITH {} SELECT * FROM page)").format(page_rows(table))
    query = rendered(bucket_sums(table.name, _texts(table, rows, text)))
    return read_sums(await (await connection.execute(query, [as_json(body)])).fetchall())


def _texts(table: CopyTable, rows: sql.Composable, text: _Text) -> sql.Composed:
    """The texts of each row's key and of the row: a record of all columns in the order of their names."""

    def record(columns: Iterable[CopyColumn]) -> sql.Composed:
        return sql.SQL("ROW({})::text").format(sql.SQL(", ").join(map(text, columns)))

    whole = record(sorted(table.columns, key=lambda column: column.name))
    return sql.SQL("SELECT {} AS k, {} AS r FROM {} t").format(record(table.key) if table.key else whole, whole, rows)


def _styled(given: sql.Composable, column: CopyColumn) -> sql.Composed:
    """A value as text; where a session's settings are in it, those of the target's."""
    if column.styled is None:
        return sql.SQL("{}::text").format(given)
    return sql.SQL("{}::{}::text").format(given, sql.SQL(column.type if column.styled == INSIDE else column.styled))


def _of_source(column: CopyColumn) -> sql.Composed:
    """The same of a source's text. A time without a zone stays as it is: which moment it is, no one can tell."""
    given = sql.Identifier("t", column.name)
    if column.styled is None or column.styled == INSIDE or not column.zoned:
        return _styled(given, column)
    return sql.SQL("CASE WHEN {0} ~ {1} THEN {0} ELSE {2} END").format(
        given, sql.Literal(WITHOUT_ZONE), _styled(given, column)
    )
