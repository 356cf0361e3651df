"""Row versions of all rows that both ends of a connection hold alike, told by hashes: the rows stay where they are."""

import asyncio
from tempfile import TemporaryFile
from typing import IO

from psycopg import AsyncConnection

from app.common.deadlines import cancel
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.tables.copy_table import CopyTable
from app.migration.verify.by_hash import hashes
from app.migration.verify.by_hash.hashes import HashedTable
from app.state.runs import row_versions

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
