"""Row versions of all rows that both ends of a connection hold alike, told by hashes: the rows stay where they are."""

from dataclasses import replace

from psycopg import AsyncConnection

from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.tables.copy_table import CopyTable
from app.migration.verify import hashes
from app.migration.verify.hashes import HashedTable
from app.state.runs import row_versions


async def record_equal_rows(connection: AsyncConnection, source: PostgresSource, table: CopyTable) -> None:
    """Record the pairs of all rows that have the same hash on both sides.

    On each side one statement gives the hashes and the xmins, so that a row's are of one snapshot.
    """
    hashed = HashedTable.of(table, dict(await source.fetch(hashes.column_types(table))))
    at_source = replace(hashed, table=await source.own(table))
    await connection.execute(hashes.create_source_hashes(table, versions=True))
    try:
        async with connection.cursor() as cursor, cursor.copy("COPY source_hashes FROM STDIN") as copied:
            async for piece in source.stream(at_source.rows((), 0, version=table.version)):
                await copied.write(piece)
        await connection.execute("ANALYZE source_hashes")
        await connection.execute(
            row_versions.record_all(table.name, hashed.rows((), 0, version="xmin"), keys=hashes.key_names(table))
        )
    finally:
        if not connection.broken and not connection.closed:
            await connection.execute("DROP TABLE source_hashes")
