"""Copying all rows from a source into the target: resumable, complete, and true about what it did."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from time import monotonic

import psycopg
from psycopg import AsyncConnection
from sqlalchemy import Table

from app.errors import MigrationError
from app.migration.copy.after_copy import compare_where_due, try_again
from app.migration.copy.completeness import Completeness, complete_table
from app.migration.copy.range_copier import RangeCopy, RangeOptions
from app.migration.copy.range_loader import TableJob
from app.migration.load.loader import PageLoader
from app.migration.load.refusals import refuse_distributed, refuse_foreign_rows
from app.migration.load.table_authority import Permit, read_authority
from app.migration.runs.report import CopyReport, TableCopied, refusals_of
from app.migration.sources.moved_tables import choose_moved, known_count, shown_count
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.postgres.silent_changes import read_changed_anew
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.rest.text_settings import require_readable_texts
from app.migration.sources.source import Progress, Source, ahead
from app.migration.tables.copy_table import CopyTable, name_of
from app.migration.tables.described_table import describe
from app.migration.target.foreign_keys import without_foreign_keys
from app.migration.target.sequences import raise_sequences
from app.migration.target.target_session import explained, open_target
from app.migration.target.usable import analyze, analyzing, make_usable
from app.state.runs import checkpoints, quarantine, runs, writes
from app.state.tool_schema import ensure_tool_schema


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """How to copy.

    Attributes:
        overwrite: go on although the target holds rows that are not ours, or is the bot's store already.
        target_in_use: the flag says that the bot reads and writes PostgreSQL.
        most_refused: refused rows past which the run stops.
        restart: begin a new run although there is an unfinished one.
        types_unseen: the source's types are not known, so that the rows are compared with the source afterwards.
        ranges: how a source over a database connection is read.
    """

    overwrite: bool = False
    target_in_use: bool = False
    most_refused: int = 1000
    restart: bool = False
    types_unseen: bool = False
    ranges: RangeOptions = field(default_factory=RangeOptions)

    @property
    def permit(self) -> Permit:
        """Under what conditions the target's tables may be written."""
        return Permit(
            step="copy",
            would="a copy would overwrite what the bot has written since",
            in_use=self.target_in_use,
            overwrite=self.overwrite,
            copying=True,
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
    async with open_target(target_url, step="copy", exclusive=True) as connection:
        return await copy_into(connection, source, target_url, tables, progress, options or CopyOptions())


async def copy_into(
    connection: AsyncConnection,
    source: Source,
    target_url: str,
    tables: Sequence[Table],
    progress: Progress,
    options: CopyOptions,
) -> CopyReport:
    """The same, in a session at the target that holds the lock of a run."""
    began = monotonic()
    with explained("copy", setting=source.setting, pending="every table; no row was written"):
        options.permit.refuse(await read_authority(connection), [name_of(table) for table in tables])
        await refuse_distributed(connection, tables, step="copy")
        moved, not_moved = await choose_moved(connection, source, tables, progress, step="copy")
        styled = isinstance(source, RestSource)
        described = [await describe(connection, table, step="copy", styled=styled) for table in moved]
        if isinstance(source, RestSource):
            await require_readable_texts(source, described, progress.notice, step="copy")
        await ensure_tool_schema(connection)
        if not options.overwrite:
            await refuse_foreign_rows(connection, source.label, described)
        names = [table.name for table in described]
        streams = isinstance(source, PostgresSource)
        run, resumed = await runs.begin_copy(connection, source.label, names, streams=streams, restart=options.restart)
        await read_changed_anew(connection, source, run, described, progress)
        if resumed:
            progress.notice(await runs.describe_resumed(connection, run))
    async with (
        _telling_what_is_done(connection, run),
        without_foreign_keys(connection, run, described, step="copy") as broken,
    ):
        start = _Start(connection, source, run, progress, options)
        if isinstance(source, PostgresSource):
            copied, snapshots = await start.copy_ranges(source, target_url, described)
        else:
            async with open_target(target_url, step="copy") as beside:
                copied, snapshots = await start.copy_pages(described, beside), 1
        copied = await try_again(connection, run, described, copied, options.permit, setting=source.setting)
        copied = await compare_where_due(
            connection,
            source,
            target_url,
            moved,
            described,
            copied,
            progress,
            types_unseen=options.types_unseen,
        )
    pending = "the sequences and materialized views, and to note that the run is complete"
    with explained("copy", setting=source.setting, done="every table", pending=pending):
        written = any(table.inserted or table.updated for table in copied)
        not_usable, not_seen = await make_usable(connection, source, described, progress, written=written)
        await runs.finish(connection, run)
    return CopyReport(
        run,
        resumed,
        tuple(copied),
        monotonic() - began,
        sync_due=snapshots > 1,
        broken=tuple(broken),
        not_usable=not_usable,
        not_seen=not_seen,
        not_moved=not_moved,
    )


@asynccontextmanager
async def _telling_what_is_done(connection: AsyncConnection, run: int) -> AsyncIterator[None]:
    """Errors that stop a run name what it has loaded."""
    try:
        yield
    except MigrationError as error:
        if error.done is None and not (connection.closed or connection.broken):
            with suppress(psycopg.Error):  # the error at hand says more
                error.done = await checkpoints.describe_done(connection, run)
        raise


@dataclass(frozen=True, slots=True)
class _Start:
    """One start of a run."""

    connection: AsyncConnection
    source: Source
    run: int
    progress: Progress
    options: CopyOptions

    async def copy_pages(self, tables: list[CopyTable], beside: AsyncConnection) -> list[TableCopied]:
        """Table after table, page after page.

        Args:
            beside: a session at the target for what goes on meanwhile.
        """
        copied = []
        for position, table in enumerate(tables):
            waiting = ", ".join(["the rest of " + table.name] + [t.name for t in tables[position + 1 :]])
            with explained("copy", setting=self.source.setting, table=table.name, pending=waiting):
                copied.append(await self._copy_table(table, beside))
        return copied

    async def copy_ranges(
        self, source: PostgresSource, target_url: str, tables: list[CopyTable]
    ) -> tuple[list[TableCopied], int]:
        """Several ranges at a time, all of one moment; gives too how many snapshots the run has read by now.

        A pause ends the snapshot, which would keep the source from cleaning up, and takes another one afterwards.
        """
        copying = RangeCopy(
            source,
            self.connection,
            target_url,
            self.run,
            self.progress,
            self.options.ranges,
            self.options.most_refused,
            self.options.permit,
        )
        copied: list[TableCopied] = []
        with explained("copy", setting=source.setting, pending="the snapshot, and all that is not complete"):
            while True:
                await source.pace.ready()
                async with source.snapshot() as snapshot:
                    snapshots = await runs.add_snapshot(self.connection, self.run, snapshot)
                    for job in await copying.load(tables[len(copied) :], snapshot):
                        if job.open or source.pace.is_paused:
                            break
                        copied.append(await self._complete(copying, job, one_snapshot=snapshots == 1))
                if len(copied) == len(tables):
                    return copied, snapshots

    async def _complete(self, copying: RangeCopy, job: TableJob, *, one_snapshot: bool) -> TableCopied:
        began = monotonic()
        with explained("copy", setting=self.source.setting, table=job.table.name, pending="to count its rows"):
            if not job.done_before:
                await analyze(self.connection, job.table)
            whole = await copying.complete(job, one_snapshot=one_snapshot)
            return await self._finish(job.table, whole, job.done_before, job.seconds + monotonic() - began)

    async def _copy_table(self, table: CopyTable, beside: AsyncConnection) -> TableCopied:
        began = monotonic()
        checkpoint = await checkpoints.find_checkpoint(self.connection, self.run, table.name)
        if checkpoint is None:
            rows = await known_count(self.source, table)
            checkpoint = await checkpoints.begin_table(self.connection, self.run, table.name, table.rows, rows)
        elif not checkpoint.complete:
            await checkpoints.resume_table(self.connection, self.run, table.name)
        expected = checkpoint.source_before
        if expected is None:
            expected = await shown_count(self.source, table)
        self.progress.begin(table.name, expected, checkpoint.rows)
        options = self.options
        loader = PageLoader(
            self.connection,
            table,
            self.run,
            step="copy",
            most_refused=options.most_refused,
            permit=options.permit,
            was_empty=checkpoint.was_empty,
        )
        if not checkpoint.complete:
            # The next page is fetched while one is loaded; at most three are in memory.
            async with aclosing(ahead(self.source.pages(table, after=checkpoint.last_key))) as pages:
                async for page in pages:
                    loaded = await loader.load(page)
                    self.progress.advance(table.name, loaded.rows)
        async with nullcontext() if checkpoint.complete else analyzing(beside, table):
            whole = await complete_table(self.connection, self.source, table, loader)
        return await self._finish(table, whole, checkpoint.complete, monotonic() - began)

    async def _finish(self, table: CopyTable, whole: Completeness, done_before: bool, seconds: float) -> TableCopied:
        await raise_sequences(self.connection, table)
        if self.options.overwrite:
            await writes.adopt_rows(self.connection, self.run, table.name, table.rows)
        if not whole.missing and whole.disagreement is None:
            await checkpoints.finish_table(self.connection, self.run, table.name)
        done = await checkpoints.find_checkpoint(self.connection, self.run, table.name)
        assert done is not None
        return TableCopied(
            table=table.name,
            source_before=done.source_before,
            source_after=whole.source_after,
            inserted=done.inserted,
            updated=done.updated,
            unchanged=done.unchanged,
            refused=refusals_of(table, await quarantine.refusals(self.connection, table.name, self.run)),
            came=whole.came,
            went=whole.went,
            missing=whole.missing,
            done_before=done_before,
            seconds=seconds,
            disagreement=whole.disagreement,
        )
