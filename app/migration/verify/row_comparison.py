"""Decides whether rows that a source sent are equal to the target's: column by column, as text, by the target."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import AsyncConnection

from app.common.keys import Key
from app.migration.sources.source import Source, key_of, records_of
from app.migration.tables.copy_table import CopyTable
from app.migration.target.target_session import as_json, is_row_fault, read_page
from app.migration.verify import statements as verify_statements
from app.state.fetching import fetch_column, fetch_rows
from app.stores.postgres.cursors import rendered


@dataclass(frozen=True, slots=True)
class UnequalRow:
    """A row of the source that the target lacks or holds differently.

    Attributes:
        columns: names of the columns that differ; source, target: their texts on either side.
    """

    key: Key
    missing: bool
    columns: Sequence[str]
    source: Sequence[str | None]
    target: Sequence[str | None]


@dataclass(slots=True)
class ComparedPage:
    """What the comparison of a page gave: its unequal rows, and a hash of each row's key."""

    unequal: list[UnequalRow] = field(default_factory=list)
    key_hashes: list[int] = field(default_factory=list)


async def compare_page(connection: AsyncConnection, table: CopyTable, body: bytes) -> ComparedPage:
    """Compare a page; a row with a text that its column's type refuses is found by halving.

    Raises:
        psycopg.Error: the target failed.
        UnavailableError: the page is not whole JSON.
    """
    parts = await read_page(
        connection,
        body,
        lambda rows: _compare(connection, table, rows, typed=True),
        lambda row: _compare(connection, table, row, typed=False),
    )
    return ComparedPage(
        [row for part in parts for row in part.unequal], [found for part in parts for found in part.key_hashes]
    )


async def _compare(connection: AsyncConnection, table: CopyTable, body: bytes, *, typed: bool) -> ComparedPage:
    query = rendered(verify_statements.compare_page(table, typed=typed))
    compared = ComparedPage()
    for key, missing, columns, source, target in await fetch_rows(connection, query, [as_json(body)]):
        if key is None:
            compared.key_hashes += map(int, target or ())
        else:
            compared.unequal.append(UnequalRow(tuple(key), missing, columns or (), source or (), target or ()))
    return compared


@dataclass(slots=True)
class RowsCompared:
    """What a look at the rows of some keys gave.

    Attributes:
        unequal: rows of the source that the target lacks or holds differently.
        records: the source's rows as it sent them, by key.
    """

    unequal: list[UnequalRow] = field(default_factory=list)
    records: dict[Key, dict[str, Any]] = field(default_factory=dict)


async def look_at(connection: AsyncConnection, source: Source, table: CopyTable, keys: Sequence[Key]) -> RowsCompared:
    """Fetch the rows of these keys from the source and compare them with the target's."""
    look = RowsCompared()
    async for page in source.rows_by_key(table, sorted(keys), listed=True):
        for record in records_of(page.body):
            look.records[key_of(record, table)] = record
        look.unequal += (await compare_page(connection, table, page.body)).unequal
    return look


async def keys_held(connection: AsyncConnection, table: CopyTable, keys: Sequence[Key]) -> set[Key]:
    """Which of these keys the target holds."""
    if not keys:
        return set()
    wanted = [json.dumps(keys)]
    try:
        held = await fetch_column(connection, rendered(verify_statements.keys_held(table)), wanted)
    except psycopg.Error as error:
        if not is_row_fault(error):
            raise
        held = await fetch_column(connection, rendered(verify_statements.keys_held(table, typed=False)), wanted)
    return set(map(tuple, held))
