"""Comparing a table page by page: what a source sends against what the target holds."""

from __future__ import annotations  # array[int] has no meaning at run time before Python 3.12

from array import array

from psycopg import AsyncConnection

from app.migration.keys.key_listing import require_whole, source_keys
from app.migration.load import statements
from app.migration.progress import Progress
from app.migration.sources.counts import known_count, shown_count
from app.migration.sources.source import Source
from app.migration.tables.copy_table import CopyTable
from app.migration.verify import statements as verify_statements
from app.migration.verify.findings import Findings, stream_keys
from app.migration.verify.row_comparison import compare_page
from app.state.fetching import fetch_row


async def compare_by_pages(
    connection: AsyncConnection, source: Source, table: CopyTable, findings: Findings, progress: Progress
) -> tuple[int, int]:
    """Compare all rows; returns how many there are in the source and in the target.

    Which rows were compared is known by the hashes of their keys, 8 bytes a row. Where these are not the target's, or
    the source has more rows than its pages brought, the sets of keys tell which rows have still to be looked at.
    """
    progress.begin(table.name, await shown_count(source, table), 0)
    hashes = array("q")
    rows = 0
    missing = False
    async for page in source.pages(table):
        compared = await compare_page(connection, table, page.body)
        hashes.extend(compared.key_hashes)
        rows += page.rows
        missing = missing or any(row.missing for row in compared.unequal)
        await findings.suspect((row.key for row in compared.unequal), in_source=True)
        progress.advance(table.name, page.rows)
    held = await fetch_row(connection, verify_statements.key_fingerprint(table))
    if missing or held != (rows, sum(hashes)) or await known_count(source, table) != rows:
        rows += await _compare_the_rest(connection, source, table, findings, hashes)
    return rows, held[0]


async def _compare_the_rest(
    connection: AsyncConnection, source: Source, table: CopyTable, findings: Findings, hashes: array[int]
) -> int:
    """Look at rows of the source that the pages did not bring, and find those that it lacks; returns how many came."""
    rows = 0
    async with source_keys(connection, source, table) as listing:
        require_whole(listing, source, table, step="verify", pending=f"the rest of {table.name}")
        await connection.execute(verify_statements.CREATE_COMPARED)
        try:
            async with connection.cursor() as cursor, cursor.copy(verify_statements.COPY_COMPARED) as copied:
                for one in hashes:
                    await copied.write_row((one,))
            await connection.execute("ANALYZE compared_keys")
            query = verify_statements.keys_not_compared(table).as_string(connection)
            async for keys in stream_keys(connection, query):
                rows += len(keys)
                await findings.look(keys)
            async for keys in stream_keys(
                connection, statements.extra_keys(table).as_string(connection) + " ORDER BY 1"
            ):
                await findings.suspect(keys, in_source=False)
        finally:
            if not connection.broken and not connection.closed:
                await connection.execute("DROP TABLE compared_keys")
    return rows
