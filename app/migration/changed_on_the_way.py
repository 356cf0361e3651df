"""After a copy on which something may have changed rows on their way: the rows are compared with the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.errors import MigrationError
from app.migration.report import Progress, TableCopied
from app.migration.rows_beside import find_writers
from app.migration.source import Source
from app.migration.tables import CopyTable
from app.migration.verify import verify


async def compare_where_due(
    connection: AsyncConnection,
    source: Source,
    target_url: str,
    tables: Sequence[Table],
    described: Sequence[CopyTable],
    copied: Sequence[TableCopied],
    progress: Progress,
    *,
    types_unseen: bool,
) -> list[TableCopied]:
    """Compare all tables where a trigger or rule of the target ran, or the source's types could not be seen.

    Args:
        types_unseen: a type of the target may have made another value of what came.

    Returns:
        The tables, with the rows that are not as the source has them.

    Raises:
        MigrationError: a side cannot be read.
    """
    reasons = [str(one) for one in await find_writers(connection, described)]
    if types_unseen:
        reasons.append("types of the source that were not seen")
    if not reasons:
        return list(copied)
    progress.notice(f"the rows are compared with the source, because of {', '.join(reasons)}")
    try:
        verified = await verify(source, target_url, tables, progress)
    except MigrationError as error:
        error.step, error.next_command = "copy", "botdata copy, which compares them again"
        raise
    return [
        replace(table, differ=max(seen.rows_that_differ - seen.quarantined, int(seen.counts_differ)))
        for table, seen in zip(copied, verified.tables, strict=True)
    ]
