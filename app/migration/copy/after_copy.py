"""The end of a copy: refused rows are tried again, and rows that may have changed on their way are compared."""

from collections.abc import Sequence
from dataclasses import replace

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.errors import MigrationError
from app.migration.load.loader import REPEATED
from app.migration.load.table_authority import Permit
from app.migration.quarantine.replay import replay_batch
from app.migration.runs.report import TableCopied, refusals_of
from app.migration.sources.source import Progress, Source
from app.migration.tables.copy_table import CopyTable, name_of
from app.migration.target.columns_of_both import of_other_parts
from app.migration.target.interference import find_writers
from app.migration.target.sequences import raise_sequences
from app.migration.target.target_session import explained
from app.migration.verify.verifier import verify
from app.next_step import Command, NextStep
from app.state.runs import checkpoints, quarantine

_ROWS_A_TRANSACTION = 500


async def try_again(
    connection: AsyncConnection,
    run: int,
    tables: Sequence[CopyTable],
    copied: Sequence[TableCopied],
    permit: Permit,
    *,
    setting: str,
) -> list[TableCopied]:
    """Load the run's rows from quarantine, as the source gave them, for as long as one of them goes in.

    A check whose function looks into another table, or a trigger, may refuse a row that comes before what it looks for.

    Args:
        setting: what names the source, for messages.

    Returns:
        The tables with the counts of now.
    """
    waiting = {table.name: table for table, done in zip(tables, copied, strict=True) if done.refused}
    arrived: set[str] = set()
    while True:
        loaded = 0
        for name, table in waiting.items():
            with explained("copy", setting=setting, table=name, pending=f"rows of {name} that were refused at first"):
                if count := await _try_table(connection, run, table, permit):
                    arrived.add(name)
                    loaded += count
        if not loaded:
            break
    counted = []
    for done in copied:
        if done.table in arrived:
            table = waiting[done.table]
            with explained("copy", setting=setting, table=table.name, pending="to count the rows that came at last"):
                await raise_sequences(connection, table)
                counted.append(await _with_counts(connection, run, table, done))
        else:
            counted.append(done)
    return counted


async def _try_table(connection: AsyncConnection, run: int, table: CopyTable, permit: Permit) -> int:
    """How many rows went in."""
    numbers = await quarantine.numbers_but(connection, run, table.name, REPEATED)
    stale = await quarantine.other_columns(connection, numbers, table.names)
    numbers = [number for number in numbers if number not in stale]
    loaded = 0
    for start in range(0, len(numbers), _ROWS_A_TRANSACTION):
        batch = numbers[start : start + _ROWS_A_TRANSACTION]
        kept, refused = await replay_batch(connection, table, run, batch, permit)
        loaded += len(batch) - len(kept) - len(refused)
    return loaded


async def _with_counts(connection: AsyncConnection, run: int, table: CopyTable, done: TableCopied) -> TableCopied:
    checkpoint = await checkpoints.find_checkpoint(connection, run, table.name)
    assert checkpoint is not None
    return replace(
        done,
        inserted=checkpoint.inserted,
        updated=checkpoint.updated,
        unchanged=checkpoint.unchanged,
        refused=refusals_of(table, await quarantine.refusals(connection, table.name, run)),
    )


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
        replace(table, differ=max(one.rows_that_differ - one.quarantined, int(not one.counts_agree)))
        if (one := seen.get(table.table))
        else table
        for table in copied
    ]


async def _made_anew(connection: AsyncConnection, source: Source, table: CopyTable) -> list[str]:
    """Columns of which the target may make other values than the source: generated ones, and those of types of a name
    that stands for other parts there."""
    return [column.name for column in table.made] + await of_other_parts(source, connection, table)
