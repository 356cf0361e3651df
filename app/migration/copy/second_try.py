"""Refused rows of a copy are tried again at its end: what they needed may have come with a later table."""

from collections.abc import Sequence
from dataclasses import replace

from psycopg import AsyncConnection

from app.migration.load.repeated_keys import REPEATED
from app.migration.load.table_authority import Permit
from app.migration.quarantine.replay import replay_batch
from app.migration.runs.report import TableCopied, refusals_of
from app.migration.tables.copy_table import CopyTable
from app.migration.target.sequences import raise_sequences
from app.migration.target.target_session import explained
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
