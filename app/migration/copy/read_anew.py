"""What an earlier start of a copy has done of a table does not stand where the table is another one by now."""

from collections.abc import Sequence

from psycopg import AsyncConnection

from app.migration.sources.postgres.silent_changes import standing_tables
from app.migration.sources.source import Progress, Source
from app.migration.tables.copy_table import CopyTable
from app.state.runs import checkpoints


async def read_changed_anew(
    connection: AsyncConnection, source: Source, run: int, tables: Sequence[CopyTable], progress: Progress
) -> None:
    """Have the run read those tables from their beginning: columns, types or the server are others than at first."""
    standing = await standing_tables(connection, source, tables, dry_run=False)
    for name in (table.name for table in tables if table.name not in standing):
        if await checkpoints.find_checkpoint(connection, run, name) is not None:
            progress.notice(
                f"{name} is read anew: its columns, or what they are made of, have changed since it was begun"
            )
            await checkpoints.forget_table(connection, run, name)
