"""Copying tables from a PostgreSQL over connections: one snapshot, key ranges, several at a time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from time import monotonic

import psycopg
from psycopg import AsyncConnection

from app.errors import UnavailableError
from app.migration.copy.completeness import Completeness, complete_table, complete_whole
from app.migration.copy.range_loader import KeyRange, RangeLoader, TableJob, plan_ranges
from app.migration.keys.key_listing import count_target
from app.migration.load.loader import PageLoader
from app.migration.load.table_authority import Permit
from app.migration.retry import patiently
from app.migration.sources.moved_tables import refuse_null_keys
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.postgres.snapshot import SnapshotSession
from app.migration.sources.source import Progress
from app.migration.tables.copy_table import CopyTable
from app.migration.target.columns_of_both import may_narrow, same_types
from app.migration.target.target_session import connect_target, explained
from app.state.runs import checkpoints


@dataclass(frozen=True, slots=True)
class RangeOptions:
    """How ranges are copied.

    Attributes:
        jobs: ranges at a time, each over two connections of its own. Two keep both servers at work: one range is being
            sent while another one's indexes and commit are waited for; more than that the bot's small servers have no
            processors for.
        range_rows, range_bytes: rows and bytes of a range at most: what a start that was killed does again.
    """

    jobs: int = 2
    range_rows: int = 100_000
    range_bytes: int = 64_000_000


class RangeCopy:
    """One start of a copy over connections, inside one snapshot of the source.

    Args:
        connection: the run's own session at the target.
    """

    def __init__(
        self,
        source: PostgresSource,
        connection: AsyncConnection,
        target_url: str,
        run: int,
        progress: Progress,
        options: RangeOptions,
        most_refused: int,
        permit: Permit,
    ) -> None:
        self._source = source
        self._connection = connection
        self._target_url = target_url
        self._run = run
        self._progress = progress
        self._options = options
        self._most_refused = most_refused
        self._permit = permit
        self._waiting: deque[tuple[TableJob, KeyRange]] = deque()

    async def load(self, tables: Sequence[CopyTable], snapshot: str) -> list[TableJob]:
        """Load every range that is not complete yet; a pause leaves the rest open."""
        self._waiting.clear()
        jobs = [await self._plan(table) for table in tables]
        if self._waiting:
            async with self._sessions(snapshot) as loaders:
                workers = [asyncio.create_task(self._work(loader, jobs)) for loader in loaders]
                try:
                    await asyncio.gather(*workers)
                finally:
                    for worker in workers:
                        worker.cancel()
                    await asyncio.gather(*workers, return_exceptions=True)
        return jobs

    async def complete(self, job: TableJob, *, one_snapshot: bool) -> Completeness:
        """Whether each row of the snapshot is in the target or in quarantine; what is missing is fetched by its key.

        Within one snapshot the ranges hold each row once. So where all rows went straight into an empty table, as many
        as the snapshot has, and the target holds as many, nothing is missing. Else the sets of keys tell.
        """
        checkpoint = await checkpoints.find_checkpoint(self._connection, self._run, job.table.name)
        assert checkpoint is not None
        straight = one_snapshot and job.straight and checkpoint.rows == job.source_rows
        if straight and await count_target(self._connection, job.table) == job.source_rows:
            return Completeness(job.source_rows, (), 0, 0)
        if not job.table.key:
            return await complete_whole(self._connection, self._source, job.table)
        loader = PageLoader(
            self._connection, job.table, self._run, step="copy", most_refused=self._most_refused, permit=self._permit
        )
        return await complete_table(self._connection, self._source, job.table, loader)

    async def _plan(self, table: CopyTable) -> TableJob:
        """The table's ranges: those that an earlier start left, else new ones."""
        with explained("copy", setting=self._source.setting, table=table.name, pending=f"{table.name} and those after"):
            await refuse_null_keys(self._source, table, step="copy")
            rows = await self._source.count(table)
            checkpoint = await checkpoints.find_checkpoint(self._connection, self._run, table.name)
            if checkpoint is None:
                pace = self._source.pace
                planned = await plan_ranges(
                    self._source,
                    table,
                    rows,
                    most_rows=pace.most_rows(self._options.range_rows, 1 / self._options.jobs),
                    most_bytes=pace.most_bytes(self._options.range_bytes, 1 / self._options.jobs),
                )
                async with self._connection.transaction():
                    begun = self._connection, self._run, table.name
                    checkpoint = await checkpoints.begin_table(*begun, table.rows, rows)
                    await checkpoints.keep_ranges(*begun, planned)
            elif not checkpoint.complete:
                await checkpoints.resume_table(self._connection, self._run, table.name)
            left = []
            if not checkpoint.complete:
                left = await checkpoints.open_ranges(self._connection, self._run, table.name)
            job = TableJob(
                table,
                await self._source.own(table),
                same=await same_types(self._source, self._connection, table),
                straight=checkpoint.was_empty and not await may_narrow(self._source, table),
                source_rows=rows,
                open=len(left),
                done_before=checkpoint.complete,
            )
        self._waiting.extend((job, KeyRange(*one)) for one in left)
        self._progress.begin(table.name, max(rows, checkpoint.rows), checkpoint.rows)
        return job

    @asynccontextmanager
    async def _sessions(self, snapshot: str) -> AsyncIterator[list[RangeLoader]]:
        """A loader for each job, with two connections of its own; fewer where no more connections can be had."""
        wanted = min(self._options.jobs, len(self._waiting))
        async with AsyncExitStack() as stack:
            loaders: list[RangeLoader] = []
            with explained("copy", setting=self._source.setting, pending=self._pending()):
                while len(loaders) < wanted:
                    try:
                        loaders.append(await self._session(snapshot, stack))
                    except (UnavailableError, psycopg.OperationalError) as error:
                        if not loaders:
                            raise
                        said = " ".join(str(error).split())
                        self._progress.notice(f"{len(loaders)} at a time in place of {wanted}, for want of: {said}")
                        break
            yield loaders

    async def _session(self, snapshot: str, stack: AsyncExitStack) -> RangeLoader:
        async with AsyncExitStack() as own:
            reader = SnapshotSession(self._source, snapshot)
            own.push_async_callback(reader.close)
            await reader.connection()
            target = await connect_target(self._target_url, step="copy")
            own.push_async_callback(target.close)
            stack.push_async_callback(own.pop_all().aclose)
            return RangeLoader(reader, target, self._run, most_refused=self._most_refused, permit=self._permit)

    async def _work(self, loader: RangeLoader, jobs: list[TableJob]) -> None:
        """Load ranges until none waits, or it is paused."""
        source = self._source
        while self._waiting and not source.pace.is_paused:
            job, key_range = self._waiting.popleft()
            job.began = job.began or monotonic()
            load = partial(loader.load, job, key_range)
            with explained("copy", setting=source.setting, table=job.table.name, pending=self._pending(jobs)):
                loaded = await patiently(load, source.limits, source.on_retry, source.label)
            job.open -= 1
            job.seconds = monotonic() - job.began
            self._progress.advance(job.table.name, loaded.rows)

    def _pending(self, jobs: Sequence[TableJob] = ()) -> str:
        open_tables = [job.table.name for job in jobs if job.open] or [job.table.name for job, _ in self._waiting]
        return f"the rest of {', '.join(dict.fromkeys(open_tables))}"
