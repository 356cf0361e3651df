"""The beginning and the end of a sync's run, and which failures a following sync waits out."""

from collections.abc import Collection, Iterable
from dataclasses import replace

import psycopg
from psycopg import AsyncConnection
from sqlalchemy import Table

from app.errors import MigrationError, OutcomeUnknownError, StoreTimeoutError, UnavailableError
from app.migration.load.refusals import refuse_foreign_rows
from app.migration.retry import REPEATABLE
from app.migration.sources.moved_tables import known_count
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import Progress, Source
from app.migration.sync.options import SyncOptions
from app.migration.tables.copy_table import CopyTable
from app.migration.tables.described_table import describe
from app.migration.target.columns_of_both import compared_table, without_made_by_source
from app.next_step import Command, NextStep
from app.state.runs import before_images, row_versions, runs, writes

_COMMANDS = {False: "sync", True: "sync --reverse"}


async def describe_versions(
    connection: AsyncConnection, source: Source, table: Table, progress: Progress, *, reverse: bool
) -> CopyTable:
    """A table, with the column by which the versions of the source's rows are told apart; "" where there is none."""
    styled = isinstance(source, RestSource)
    described = await describe(connection, table, step="sync", back=reverse, styled=styled)
    if not described.key:
        return described
    if reverse:
        described = await without_made_by_source(source, described, table)
    elif described.made:
        compared, _ = await compared_table(connection, source, described, table)
        described = replace(described, made=compared.columns[len(described.columns) :])
    if await source.has_versions(described):
        return described
    changed_at = described.changed_at or ""
    progress.notice(
        f"{table.name} has no xmin in the source: its changes are found by {changed_at}, so a writer that does not set "
        "that is not seen"
        if changed_at
        else f"{table.name} has no xmin in the source and no changed-at column: every row is compared in every round"
    )
    return replace(described, version=changed_at)


async def begin(connection: AsyncConnection, source: Source, tables: list[CopyTable], options: SyncOptions) -> int:
    """The run's id: of the newest that was not ended, else of a new one; 0 for a dry run.

    Raises:
        MigrationError: a table that was never brought over from this source holds rows that would be lost.
    """
    if not options.overwrite:
        await _refuse_unknown_rows(connection, source, tables, options)
    if options.dry_run:
        return 0
    last = await runs.last_source(connection, list(_COMMANDS.values()))
    if last != source.label:  # the xmin of another database says nothing about this one
        await row_versions.forget_all(connection)
    command = _COMMANDS[options.reverse]
    unfinished = await runs.find_unfinished(connection, command, source.label)
    return await runs.begin(connection, command, source.label) if unfinished is None else unfinished


async def _refuse_unknown_rows(
    connection: AsyncConnection, source: Source, tables: list[CopyTable], options: SyncOptions
) -> None:
    unknown = [table for table in tables if not await runs.has_brought(connection, source.label, table.name)]
    if not options.reverse:
        await refuse_foreign_rows(connection, source.label, unknown, step="sync")
        return
    others: dict[str, int] = {}
    for table in unknown:
        others |= await writes.rows_by_others(connection, source.label, table.all_names, table.rows)
    came = f" (the target's came from {', '.join(others)}, or by that address)" if others else ""
    await _refuse_to_delete(source, unknown, f"were never brought over from it{came}")
    known = [table for table in tables if table not in unknown]
    partial = [table for table in known if not await runs.has_brought_whole(connection, source.label, table.name)]
    await _refuse_to_delete(source, partial, "were not brought over whole")


async def _refuse_to_delete(source: Source, tables: list[CopyTable], words: str) -> None:
    held = []
    for table in tables:
        rows = await known_count(source, table)
        if rows is None:
            held.append(f"{table.name} (too many to be counted)")
        elif rows:
            held.append(f"{table.name} ({rows:,})")
    if held:
        raise MigrationError(
            f"the source holds rows of tables that {words}: {', '.join(held)}",
            step="sync",
            pending="everything; nothing was written",
            next_step=NextStep(Command("sync", "--reverse --overwrite"), ", if the target's rows may replace them"),
        )


async def finish(connection: AsyncConnection, run: int, adopted: Iterable[CopyTable] = ()) -> None:
    """Mark the run complete.

    Args:
        adopted: tables that were brought over although rows of theirs were not known: they are the source's from now
            on.
    """
    for table in adopted:
        await writes.adopt_rows(connection, run, table.name, table.rows)
    await runs.finish(connection, run)


def may_pass(error: MigrationError) -> bool:
    """Whether it is an end that is away for a while, and not something to be mended."""
    cause = error.__cause__
    if isinstance(cause, UnavailableError | StoreTimeoutError | OutcomeUnknownError):
        return True
    driver = error.__context__  # the cause is without values, and so without its kind
    if not isinstance(driver, psycopg.Error):
        return False
    if driver.sqlstate is None:
        return isinstance(driver, psycopg.OperationalError)
    return driver.sqlstate[:2] in {"08", "53", "57"} or driver.sqlstate in REPEATABLE


async def refuse_taken_out(connection: AsyncConnection, tables: Collection[str]) -> None:
    """Stop where rows are out of the source for a moment: they would count as deleted there.

    Raises:
        MigrationError: names the tables.
    """
    if counts := await before_images.count_taken_out(connection, tables):
        shown = ", ".join(f"{table} ({count:,})" for table, count in counts.items())
        raise MigrationError(
            f"a sync --reverse was ended while rows were out of the source to make room for others: {shown}",
            step="sync",
            pending="everything; nothing was written",
            next_step=NextStep(Command("sync", f"--reverse --tables {','.join(counts)}"), "; then: ", Command("sync")),
        )
