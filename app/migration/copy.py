"""Copying all rows from a source into the target: resumable, complete, and true about what it did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.errors import MigrationError
from app.migration import runs
from app.migration.completeness import complete_table
from app.migration.load import PageLoader
from app.migration.report import CopyReport, Progress, TableCopied
from app.migration.runs import Checkpoint
from app.migration.sequences import raise_sequences
from app.migration.source import Page, Source
from app.migration.tables import CopyTable, describe
from app.migration.target import explained, open_target
from app.migration.tool_schema import ensure_tool_schema


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """How to copy.

    Attributes:
        overwrite: go on although the target holds rows that are not ours, or is the bot's store already.
        target_in_use: the flag says that the bot reads and writes PostgreSQL.
        most_refused: refused rows past which the run stops.
        restart: begin a new run although there is an unfinished one.
    """

    overwrite: bool = False
    target_in_use: bool = False
    most_refused: int = 1000
    restart: bool = False


def refuse_target_in_use(options: CopyOptions) -> None:
    """Stop where the flag says that the bot writes to the target; MigrationError says how to go on all the same."""
    if options.target_in_use and not options.overwrite:
        raise MigrationError(
            "USE_REPOSITORY_PATTERN says that PostgreSQL is the bot's store already; "
            "a copy would overwrite what the bot has written since",
            step="copy",
            pending="everything; nothing was written",
            next_command="botdata copy --overwrite, if that is meant",
        )


async def copy(
    source: Source, target_url: str, tables: Sequence[Table], progress: Progress, options: CopyOptions | None = None
) -> CopyReport:
    """Copy the tables, or go on with the unfinished copy from the same source.

    Args:
        tables: in the order to copy them.

    Raises:
        MigrationError: it stopped; every page loaded so far is kept, and the same command goes on from there.
    """
    options = options or CopyOptions()
    refuse_target_in_use(options)
    began = monotonic()
    async with open_target(target_url, step="copy", exclusive=True) as connection:
        with explained("copy", setting=source.setting):
            described = [await describe(connection, table, step="copy") for table in tables]
            await ensure_tool_schema(connection)
            if not options.overwrite:
                await runs.refuse_foreign_rows(connection, source.label, described)
            run, resumed = await runs.begin_run(connection, source.label, described, restart=options.restart)
            if resumed:
                progress.notice(await runs.describe_resumed(connection, run))
        copied = []
        for position, table in enumerate(described):
            waiting = ", ".join(["the rest of " + table.name] + [t.name for t in described[position + 1 :]])
            with explained("copy", setting=source.setting, table=table.name, pending=waiting):
                copied.append(await _copy_table(connection, source, table, run, progress, options))
        with explained("copy", setting=source.setting):
            await runs.finish_run(connection, run)
    return CopyReport(run, resumed, tuple(copied), monotonic() - began)


async def _copy_table(
    connection: AsyncConnection,
    source: Source,
    table: CopyTable,
    run: int,
    progress: Progress,
    options: CopyOptions,
) -> TableCopied:
    began = monotonic()
    checkpoint = await runs.find_checkpoint(connection, run, table)
    if checkpoint is None:
        checkpoint = await runs.begin_table(connection, run, table, await source.count(table))
    elif not checkpoint.complete:
        await runs.resume_table(connection, run, table)
    progress.begin(table.name, checkpoint.source_before, checkpoint.rows)
    done_before = checkpoint.complete
    loader = PageLoader(connection, table, run, most_refused=options.most_refused)
    if not checkpoint.complete:
        await _load_pages(source, table, checkpoint, loader, progress)
    whole = await complete_table(connection, source, table, loader)
    await raise_sequences(connection, table)
    if options.overwrite:
        await runs.adopt_rows(connection, run, table)
    if not whole.missing:
        await runs.finish_table(connection, run, table)
    done = await runs.find_checkpoint(connection, run, table)
    assert done is not None
    return TableCopied(
        table=table.name,
        source_before=done.source_before,
        source_after=whole.source_after,
        inserted=done.inserted,
        updated=done.updated,
        unchanged=done.unchanged,
        refused=await runs.refusals(connection, run, table),
        came=whole.came,
        went=whole.went,
        missing=whole.missing,
        done_before=done_before,
        seconds=monotonic() - began,
    )


async def _load_pages(
    source: Source, table: CopyTable, checkpoint: Checkpoint, loader: PageLoader, progress: Progress
) -> None:
    """Load page after page while the next one is being fetched; at most three are in memory."""
    async with aclosing(_ahead(source.pages(table, after=checkpoint.last_key))) as pages:
        async for page in pages:
            loaded = await loader.load(page)
            progress.advance(table.name, loaded.rows)


async def _ahead(pages: AsyncIterator[Page]) -> AsyncGenerator[Page, None]:
    """The same pages, the next one being fetched while the caller works on this one."""
    upcoming = asyncio.ensure_future(anext(pages, None))
    try:
        while (page := await upcoming) is not None:
            upcoming = asyncio.ensure_future(anext(pages, None))
            yield page
    finally:
        if not upcoming.done():
            upcoming.cancel()
        await asyncio.gather(upcoming, return_exceptions=True)
