"""After a copy on which something may have changed rows on their way: the rows are compared with the source."""

from collections.abc import Sequence
from dataclasses import replace

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.errors import MigrationError
from app.migration.runs.report import TableCopied
from app.migration.sources.source import Progress, Source
from app.migration.tables.copy_table import CopyTable, name_of
from app.migration.target.columns_of_both import of_other_parts
from app.migration.verify.rows_beside import find_writers
from app.migration.verify.verifier import verify
from app.next_step import Command, NextStep


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

    A table of which the target makes some values by itself is compared in any case.

    Args:
        types_unseen: a type of the target may have made another value of what came.

    Returns:
        The tables, with the rows that are not as the source has them.

    Raises:
        MigrationError: a side cannot be read.
    """
    whole = {table.table for table in copied if not table.disagreement}  # what is not can be compared with nothing
    reasons = [str(one) for one in await find_writers(connection, described)]
    if types_unseen:
        reasons.append("types of the source that were not seen")
    if reasons:
        due = whole
    else:
        made = {table.name: await _made_anew(connection, source, table) for table in described if table.name in whole}
        due = {name for name, columns in made.items() if columns}
        reasons = [f"what the target makes of {', '.join(made[name])} of {name}" for name in sorted(due)]
    if not due:
        return list(copied)
    progress.notice(f"the rows are compared with the source, because of {', '.join(reasons)}")
    try:
        verified = await verify(source, target_url, [table for table in tables if name_of(table) in due], progress)
    except MigrationError as error:
        error.step = "copy"
        error.next_step = NextStep(Command("copy"), ", which compares them again")
        raise
    seen = {one.table: one for one in verified.tables}
    return [
        replace(table, differ=max(one.rows_that_differ - one.quarantined, int(one.counts_differ)))
        if (one := seen.get(table.table))
        else table
        for table in copied
    ]


async def _made_anew(connection: AsyncConnection, source: Source, table: CopyTable) -> list[str]:
    """Columns of which the target may make other values than the source: generated ones, and those of types of a name
    that stands for other parts there."""
    return [column.name for column in table.made] + await of_other_parts(source, connection, table)
