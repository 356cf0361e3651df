"""What an earlier start of a copy has done of a table, as far as that stands."""

from psycopg import AsyncConnection

from app.migration.sources.postgres.silent_changes import values_stand
from app.migration.sources.source import Progress, Source
from app.migration.tables.copy_table import CopyTable
from app.state.runs import checkpoints
from app.state.runs.checkpoints import Checkpoint


async def standing_checkpoint(
    connection: AsyncConnection, source: Source, run: int, table: CopyTable, progress: Progress
) -> Checkpoint | None:
    """The table's checkpoint in the run; None where it is to be read from its beginning.

    So it is where its columns, its types or the source's server are others than when it was begun.
    """
    stands = await values_stand(connection, source, table, dry_run=False)
    checkpoint = await checkpoints.find_checkpoint(connection, run, table.name)
    if checkpoint is None or stands:
        return checkpoint
    why = "its columns, or what they are made of, have changed since it was begun"
    progress.notice(f"{table.name} is read anew: {why}")
    await checkpoints.forget_table(connection, run, table.name)
    return None
