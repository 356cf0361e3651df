"""Making a report: both sides of each table are hashed, and what the target remembers is gathered.

The digest of a table has counts and sums of hashes of its rows, in buckets. Both sides are hashed in the target, where
the key is. The source's rows come there as text, as `verify` has them. A value whose text depends on the settings of a
session is written as the target writes it, on either side.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce
from typing import Any

from psycopg import AsyncConnection, sql
from sqlalchemy import Table

from app.errors import MigrationError, StoreError
from app.migration.keys.key_listing import count_target
from app.migration.load.statements import WITHOUT_ZONE, page_rows
from app.migration.runs.status import status_of
from app.migration.sources.moved_tables import NotMoved, choose_moved, known_count, partitions_among, shown_count
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.rest.text_settings import require_readable_texts
from app.migration.sources.source import Progress, Source
from app.migration.tables.column_shapes import INSIDE
from app.migration.tables.copy_table import CopyColumn, CopyTable, name_of
from app.migration.tables.described_table import describe
from app.migration.target.columns_of_both import compared_table
from app.migration.target.target_session import as_json, explained, open_target, read_page
from app.migration.whole import STAGING, staged
from app.next_step import Command, NextStep
from app.report.facts import KIND, VERSION, digest_facts, gather, hash_facts, open_points
from app.state.digests import (
    Bucket,
    KeptDigest,
    Side,
    add,
    bucket_sums,
    ensure_key,
    keep_digest,
    kept_digests,
    read_sums,
)
from app.state.fetching import fetch_rows, fetch_value
from app.state.runs.runs import last_source
from app.state.tool_schema import ensure_tool_schema
from app.stores.postgres.cursors import rendered
from app.stores.postgres.database_url import shown_url

STEP = "report"
_PENDING = "the report; nothing but hashes was written"
_MOVES = ("copy", "sync", "verify --fix")


async def make_report(
    target_url: str,
    source: Source | None,
    tables: Sequence[Table],
    progress: Progress,
    *,
    kept: bool = False,
    secrets: Sequence[str] = (),
) -> dict[str, Any]:
    """Hash the tables, keep the hashes, and gather what is known.

    Args:
        source: None: the target alone is hashed.
        kept: no row is read; the hashes of the last report are shown, with their time.
        secrets: see `Settings.secrets`.

    Returns:
        The facts; docs/json.md has their fields.

    Raises:
        MigrationError: a side cannot be read, or the role is not the owner of the tool's schema.
    """
    async with open_target(target_url, step=STEP) as connection:
        with explained(STEP, pending=_PENDING):
            await ensure_tool_schema(connection)
            key = await ensure_key(connection)
            chosen, not_moved = await _choose(connection, source, tables, progress)
            described = [await describe(connection, table, step=STEP, reads=True) for table in chosen]
        left_out: dict[str, list[str]] = {}
        if not kept:
            with _reading(source):
                if isinstance(source, RestSource):
                    await require_readable_texts(source, described, progress.notice, step=STEP)
                for table, model in zip(described, chosen, strict=True):
                    digests, left_out[table.name] = await _digest(connection, source, table, model, progress)
                    for digest in digests:
                        await keep_digest(connection, digest)
        with explained(STEP, pending=_PENDING):
            status = await status_of(connection)
            facts = await gather(connection, status, described, secrets)
            known = await kept_digests(connection)
            label = source.label if source else await last_source(connection, _MOVES)
            for one, table in zip(facts["tables"], described, strict=True):
                theirs, ours = known.get((table.name, "source")), known.get((table.name, "target"))
                one["rows"] = ours.rows if ours and not kept else await count_target(connection, table)
                one["source"], one["target"] = digest_facts(theirs), digest_facts(ours)
                one["equal"] = _equal(theirs, ours)
                one["left_out"] = left_out.get(table.name)
    head = {
        "kind": KIND,
        "version": VERSION,
        "made_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "source": label,
        "target": shown_url(target_url),
        "read": "nothing" if kept else "both sides" if source else "the target",
        "at_work": status.holder,
        "paused": status.pause and status.pause.document,
        "paces": [one.document for one in status.paces],
        "hashes": hash_facts(key),
        "not_moved": [{"table": one.table, "why": one.why} for one in not_moved],
    }
    return {**head, "open": open_points({**head, **facts}), **facts}


async def _choose(
    connection: AsyncConnection, source: Source | None, tables: Sequence[Table], progress: Progress
) -> tuple[list[Table], tuple[NotMoved, ...]]:
    if source is not None:
        return await choose_moved(connection, source, tables, progress, step=STEP)
    partitions = await partitions_among(connection, tables)
    return [table for table in tables if name_of(table) not in partitions and len(table.columns)], ()


async def _digest(
    connection: AsyncConnection, source: Source | None, described: CopyTable, model: Table, progress: Progress
) -> tuple[list[KeptDigest], list[str]]:
    """The digests, and the columns that are not in them."""
    if source is None:
        table = described.with_made
        progress.begin(table.name, await count_target(connection, table), 0)
        return [await digest_target(connection, table, None, progress)], []
    table, left_out = await compared_table(connection, source, described, model)
    progress.begin(table.name, await shown_count(source, table) + await count_target(connection, table), 0)
    theirs = await digest_source(connection, source, table, progress)
    ours = await digest_target(connection, table, source.label, progress)
    return [theirs, ours], [one.column for one in left_out]


def _equal(theirs: KeptDigest | None, ours: KeptDigest | None) -> bool | None:
    """Whether both sides hold the same; None where they were not hashed together, or not with the same columns."""
    if theirs is None or ours is None or theirs.columns != ours.columns or theirs.source != ours.source:
        return None
    return theirs.buckets == ours.buckets


@contextmanager
def _reading(source: Source | None) -> Iterator[None]:
    """While rows are read; an error of the source says how to do without it."""
    try:
        with explained(STEP, setting=source.setting if source else "DATABASE_URL", pending=_PENDING):
            yield
    except MigrationError as error:
        if isinstance(error.__cause__, StoreError) and error.next_step is not None:
            error.next_step = NextStep(*error.next_step, "; once the source is gone: ", Command(STEP, "--target-only"))
        raise


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
