"""Comparing a table of two databases by hashes: equal rows stay where they are, only hashes travel."""

import asyncio
from collections.abc import Collection
from tempfile import TemporaryFile
from typing import IO

from psycopg import AsyncConnection, sql

from app.common.deadlines import cancel
from app.migration.sources.postgres.null_keys import refuse_null_keys
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Progress
from app.migration.tables.copy_table import CopyTable, named
from app.migration.verify.by_hash import hashes
from app.migration.verify.by_hash.hashes import HashedTable, Range
from app.migration.verify.findings import Findings, stream_keys
from app.state.fetching import fetch_rows, fetch_value
from app.state.runs import row_versions

# A table is one range at first, since mostly all rows are equal; a larger one is split into so many (as bits) at once:
# halving it again and again would read it as many times.
_FINER_BITS = 12
_FEW_ROWS = 5000


async def compare_by_hashes(
    connection: AsyncConnection, source: PostgresSource, table: CopyTable, findings: Findings, progress: Progress
) -> tuple[int, int]:
    """Compare all rows; returns how many there are in the source and in the target.

    Both sides hash all their rows at the same time. Where the sums differ, they are made again for ranges of the key's
    hash. The rows of ranges that differ are hashed one by one, the source's hashes joined with the target's in a
    temporary table, and what is unequal is looked at.
    """
    await refuse_null_keys(source, table, step="verify")
    progress.begin(table.name, await _estimate(connection, table), 0)
    at_source, hashed = await HashedTable.of_both(source, table)
    theirs, ours = await hash_both(connection, source, at_source.whole(), hashed.whole())
    source_rows, target_rows = theirs[0].rows, ours[0].rows
    bits, unequal = 0, _unequal(theirs, ours)
    if unequal and source_rows + target_rows > _FEW_ROWS:
        await _let_sort(connection, source, sorting=False)
        theirs, ours = await hash_both(connection, source, at_source.ranges(_FINER_BITS), hashed.ranges(_FINER_BITS))
        await _let_sort(connection, source, sorting=True)
        bits, unequal = _FINER_BITS, _unequal(theirs, ours)
    if unequal:
        await _compare_rows(connection, source, at_source, hashed, findings, unequal, bits)
    progress.advance(table.name, source_rows)
    return source_rows, target_rows


async def _let_sort(connection: AsyncConnection, source: PostgresSource, *, sorting: bool) -> None:
    """Whether both planners may sort: they take each row for a range of its own, and would sort all rows to group."""
    query = sql.SQL("SELECT set_config('enable_sort', {}, false)").format(sql.Literal(str(sorting).lower()))
    await source.fetch(query)
    await connection.execute(query)


async def hash_both(
    connection: AsyncConnection, source: PostgresSource, at_source: sql.Composed, at_target: sql.Composed
) -> tuple[dict[int, Range], dict[int, Range]]:
    """The ranges of both sides, hashed at the same time."""
    both = await asyncio.gather(source.fetch(at_source), fetch_rows(connection, at_target), return_exceptions=True)
    for outcome in both:
        if isinstance(outcome, BaseException):
            raise outcome
    theirs, ours = ({row[0]: Range(row[1], row[2]) for row in rows} for rows in both if isinstance(rows, list))
    return theirs, ours


async def _compare_rows(
    connection: AsyncConnection,
    source: PostgresSource,
    at_source: HashedTable,
    hashed: HashedTable,
    findings: Findings,
    within: Collection[int],
    bits: int,
) -> None:
    await connection.execute(hashes.create_source_hashes(hashed.table))
    try:
        async with connection.cursor() as cursor, cursor.copy("COPY source_hashes FROM STDIN") as copied:
            async for piece in source.stream(at_source.rows(within, bits)):
                await copied.write(piece)
        await connection.execute("ANALYZE source_hashes")
        query = hashes.unequal_keys(hashed, within, bits).as_string(connection)
        async for keys in stream_keys(connection, query):
            await findings.look(keys)
    finally:
        if not connection.broken and not connection.closed:
            await connection.execute("DROP TABLE source_hashes")


async def _estimate(connection: AsyncConnection, table: CopyTable) -> int:
    """About how many rows the target holds: to count them would cost half as much as to compare them."""
    query = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass(%s)"
    return int(await fetch_value(connection, query, [named(connection, table.identifier)]) or 0)


def _unequal(theirs: dict[int, Range], ours: dict[int, Range]) -> set[int]:
    return {number for number in theirs.keys() | ours.keys() if theirs.get(number) != ours.get(number)}


_ENDING = 5.0  # seconds for the source's statement, where the target's has failed
_PIECE = 1 << 20  # bytes


async def record_equal_rows(connection: AsyncConnection, source: PostgresSource, table: CopyTable) -> None:
    """Record the pairs of all rows that have the same hash on both sides.

    On each side one statement gives the hashes and the xmins, so that a row's are of one snapshot. Both sides are at
    work at the same time: what the source gives waits in a file.
    """
    at_source, hashed = await HashedTable.of_both(source, table)
    try:
        with TemporaryFile() as given:
            reading = asyncio.create_task(_read(source, at_source, given))
            try:
                await connection.execute(hashes.create_target_hashes(hashed))
                await reading
            finally:
                await cancel({reading}, _ENDING)
            await connection.execute(hashes.create_source_hashes(table, versions=True))
            given.seek(0)
            async with connection.cursor() as cursor, cursor.copy("COPY source_hashes FROM STDIN") as copied:
                while piece := given.read(_PIECE):
                    await copied.write(piece)
        await connection.execute("ANALYZE source_hashes, target_hashes")
        await connection.execute(row_versions.record_all(table.name, keys=hashes.key_names(table)))
    finally:
        if not connection.broken and not connection.closed:
            await connection.execute("DROP TABLE IF EXISTS pg_temp.source_hashes, pg_temp.target_hashes")


async def _read(source: PostgresSource, hashed: HashedTable, into: IO[bytes]) -> None:
    async for piece in source.stream(hashed.rows((), 0, version=hashed.table.version)):
        into.write(piece)
