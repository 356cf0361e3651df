"""Is it all there? The sets of keys on both sides; what is missing is fetched by its key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from psycopg import AsyncConnection

from app.migration import statements
from app.migration.ahead import ahead
from app.migration.connection import rendered
from app.migration.counts import exact_count, known_count
from app.migration.load import PageLoader
from app.migration.source import Key, Source
from app.migration.tables import CopyTable
from app.migration.target import JsonBytes


@dataclass(frozen=True, slots=True)
class Completeness:
    """What the comparison of the two sides found.

    Attributes:
        source_after: the source's exact count at the end.
        missing: keys that two looks at the source found, and that are in the target neither as a row nor refused.
        came: rows that the pages did not bring, since they came behind them, and that were fetched by key.
        went: rows of the target whose keys the source no longer has.
    """

    source_after: int
    missing: tuple[Key, ...]
    came: int
    went: int


@asynccontextmanager
async def source_keys(connection: AsyncConnection, source: Source, table: CopyTable) -> AsyncIterator[None]:
    """A temporary table `source_keys` in the target with every key that the source holds now."""
    await connection.execute(statements.create_source_keys(table))
    try:
        add = rendered(statements.add_source_keys(table))
        async with aclosing(ahead(source.key_pages(table))) as pages:
            async for page in pages:
                await connection.execute(add, [JsonBytes(page.body)])
        await connection.execute("ANALYZE source_keys")
        yield
    finally:
        if not connection.broken and not connection.closed:
            await connection.execute("DROP TABLE source_keys")


async def complete_table(
    connection: AsyncConnection, source: Source, table: CopyTable, loader: PageLoader
) -> Completeness:
    """Compare the sides by key, and fetch what is missing: equal counts would hide one row gone and another come.

    A key still missing after its row was asked for has gone from the source meanwhile, or is lost; a second look at the
    source tells which.
    """
    source_after = await known_count(source, table)
    if source_after == await count_target(connection, table) == 0:
        return Completeness(0, (), 0, 0)
    came, first, went = await _look(connection, source, table, loader)
    if first:
        more, second, went = await _look(connection, source, table, loader)
        lost = tuple(sorted(first & second))
        return Completeness(await exact_count(source, table), lost, came + more, went)
    return Completeness(await exact_count(source, table) if source_after is None else source_after, (), came, went)


async def _look(
    connection: AsyncConnection, source: Source, table: CopyTable, loader: PageLoader
) -> tuple[int, set[Key], int]:
    """Take the source's keys and fetch the rows missing; returns rows that arrived, keys still missing, extra rows."""

    async def find_missing() -> set[Key]:
        absent = await select_keys(connection, statements.missing_keys(table).as_string(connection))
        return absent - await select_keys(connection, statements.refused_keys(), [table.name]) if absent else absent

    async with source_keys(connection, source, table):
        missing = await find_missing()
        async for page in source.rows_by_key(table, sorted(missing)):
            await loader.load(page, checkpoint=False)
        still = await find_missing() if missing else set()
        extra = await select_keys(connection, statements.extra_keys(table).as_string(connection))
    return len(missing - still), still, len(extra)


async def count_target(connection: AsyncConnection, table: CopyTable) -> int:
    """Rows in the target's table."""
    row = await (await connection.execute(statements.count_rows(table))).fetchone()
    assert row is not None
    return int(row[0])


async def select_keys(connection: AsyncConnection, query: str, parameters: list[str] | None = None) -> set[Key]:
    """The keys (text[]) that a query returns."""
    cursor = await connection.execute(query, parameters)
    return {tuple(row[0]) for row in await cursor.fetchall()}
