"""Comparing a table by its keys: its rows are read on both sides, in pages or by hashes; what differs is read again."""

from __future__ import annotations  # array[int] has no meaning at run time before Python 3.12

import asyncio
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from psycopg import AsyncConnection

from app.common.keys import Key
from app.migration.keys.key_listing import count_target, extra_keys, require_whole, source_keys
from app.migration.load.loader import PageLoader
from app.migration.load.mirrored_meanwhile import UnlockedReading, this_moment
from app.migration.runs.report import TableVerified
from app.migration.sources.moved_tables import exact_count, known_count, pick_keys, refuse_null_keys, shown_count
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Page, Progress, Source
from app.migration.tables.copy_table import CopyTable
from app.migration.target.leftovers import LeftOut
from app.migration.target.sequences import raise_sequences
from app.migration.target.target_session import dropped_after
from app.migration.verify.findings import Findings, stream_keys
from app.migration.verify.hash_comparison import compare_by_hashes
from app.migration.verify.options import Verification
from app.migration.verify.row_comparison import compare_page, key_fingerprint, keys_not_compared
from app.state.fetching import fetch_row
from app.state.runs import quarantine

_LOOKED_AT_ONCE = 1000
_RECOUNTS, _RECOUNTS_BESIDE_STREAM = 3, 10


@dataclass(frozen=True, slots=True)
class KeyedComparison:
    """A table whose rows were read on both sides; those that seem to differ wait to be read again.

    Attributes:
        described: the table with all columns.
        source_rows, target_rows: as they were counted meanwhile.
        seconds: that it took.
    """

    described: CopyTable
    findings: Findings
    left_out: tuple[LeftOut, ...]
    sampled: int | None
    source_rows: int
    target_rows: int
    seconds: float

    @property
    def table(self) -> CopyTable:
        """The table with the columns that are compared."""
        return self.findings.table

    @classmethod
    async def compare(
        cls, work: Verification, table: CopyTable, described: CopyTable, left_out: tuple[LeftOut, ...]
    ) -> KeyedComparison:
        """Compare all rows, or a sample of them.

        Args:
            table: with the columns that are compared; described: with all.
        """
        connection, source, progress, options = work.connection, work.source, work.progress, work.options
        began = monotonic()
        findings = Findings(
            connection,
            source,
            table,
            pause=options.pause,
            most=options.most_differences,
            recount=not isinstance(source, PostgresSource),
            fix=None if work.run is None else _fixing(work, work.run, described),
            stream=work.stream if work.stream is not None and table.name in work.stream.tables else None,
        )
        sampled = None
        if options.sample is not None:
            sampled = await _look_at_sample(source, table, findings, progress, options.sample)
            source_rows, target_rows = await exact_count(source, table), await count_target(connection, table)
        elif isinstance(source, PostgresSource) and source.pace.max_rate is None:
            source_rows, target_rows = await compare_by_hashes(connection, source, table, findings, progress)
        else:  # hashes would have the source read all of its rows at once
            if isinstance(source, PostgresSource):
                await refuse_null_keys(source, table, step="verify")
            source_rows, target_rows = await compare_by_pages(connection, source, table, findings, progress)
        seconds = monotonic() - began
        return cls(described, findings, left_out, sampled, source_rows, target_rows, seconds)

    async def verified(self, work: Verification) -> TableVerified:
        """What differs still, once all was read again that seemed to."""
        connection, source = work.connection, work.source
        began, table, findings, sampled = monotonic(), self.table, self.findings, self.sampled
        source_rows, target_rows = self.source_rows, self.target_rows
        await findings.finish()
        if work.run is not None:
            await raise_sequences(connection, table)
        if findings.fixed:
            target_rows = await count_target(connection, table)
        source_rows -= 0 if sampled is not None else findings.gone
        explained = 0 if sampled is not None else findings.extra - findings.missing
        recounts = _RECOUNTS if findings.stream is None else _RECOUNTS_BESIDE_STREAM
        counted_there, counted_here, agree = await _agreeing(
            connection, source, table, work.options.pause, source_rows, target_rows, explained, recounts
        )
        compared = source_rows + findings.gone if sampled is None else sampled
        return TableVerified(
            table=table.name,
            source_rows=counted_there,
            target_rows=counted_here,
            equal=max(0, compared - findings.gone - findings.missing - findings.different),
            missing=findings.missing,
            extra=findings.extra,
            different=findings.different,
            quarantined=findings.quarantined,
            changed=findings.changed,
            fixed=findings.fixed,
            sampled=sampled,
            differences=tuple(findings.differences),
            cut=findings.cut,
            left_out=self.left_out,
            seconds=self.seconds + monotonic() - began,
            counts_agree=agree,
        )


def _fixing(work: Verification, run: int, table: CopyTable) -> Callable[[Sequence[Key]], Awaitable[None]]:
    """For `verify --fix`: loads rows as the source has them now; those that the target refuses go into quarantine."""
    connection, source, options = work.connection, work.source, work.options
    loader = PageLoader(connection, table, run, step=options.permit.step, most_refused=options.most_refused)

    async def load(page: Page) -> None:
        await loader.load(page, checkpoint=False)

    def read(keys: Sequence[Key]) -> AsyncIterator[Page]:
        return source.rows_by_key(table, keys)

    async def fix(keys: Sequence[Key]) -> None:
        moment = await this_moment(connection, table)
        reading = UnlockedReading(connection, options.permit, table, read, load, source.pace)
        for page in [page async for page in read(keys)]:
            await reading.bring(page, moment)
        await quarantine.leave_to_run(connection, run, table.name, keys)

    return fix


async def _look_at_sample(source: Source, table: CopyTable, findings: Findings, progress: Progress, wanted: int) -> int:
    """Look at some rows; returns how many."""
    keys = await pick_keys(source, table, wanted)
    progress.begin(table.name, len(keys), 0)
    for first in range(0, len(keys), _LOOKED_AT_ONCE):
        await findings.look(keys[first : first + _LOOKED_AT_ONCE])
        progress.advance(table.name, len(keys[first : first + _LOOKED_AT_ONCE]))
    return len(keys)


async def _agreeing(
    connection: AsyncConnection,
    source: Source,
    table: CopyTable,
    pause: float,
    ours: int,
    held: int,
    more: int,
    recounts: int,
) -> tuple[int, int, bool]:
    """The counts of both sides, and whether they agree; counted again a few times where not: either may be changing.

    What brings rows over may be a moment late, so the target may hold as many as the source had at an earlier count.

    Args:
        ours, held: the rows of the source and of the target, as they were counted first.
        more: how many more the target holds, by the rows that were found to differ.
    """
    if held == ours + more:
        return ours, held, True
    counted = [ours]
    for _ in range(recounts):
        await asyncio.sleep(pause)
        counted.append(await exact_count(source, table))
        held = await count_target(connection, table)
        counted.append(await exact_count(source, table))
        if min(counted) + more <= held <= max(counted) + more:
            return held - more, held, True
    return counted[-1], held, False


async def compare_by_pages(
    connection: AsyncConnection, source: Source, table: CopyTable, findings: Findings, progress: Progress
) -> tuple[int, int]:
    """Compare all rows; returns how many there are in the source and in the target.

    Which rows were compared is known by the hashes of their keys, 8 bytes a row. Where these are not the target's, or
    the source has more rows than its pages brought, the sets of keys tell which rows have still to be looked at.
    """
    progress.begin(table.name, await shown_count(source, table), 0)
    hashes = array("q")
    rows = 0
    missing = False
    async for page in source.pages(table):
        compared = await compare_page(connection, table, page.body)
        hashes.extend(compared.key_hashes)
        rows += page.rows
        missing = missing or any(row.missing for row in compared.unequal)
        await findings.suspect((row.key for row in compared.unequal), in_source=True)
        progress.advance(table.name, page.rows)
    held = await fetch_row(connection, key_fingerprint(table))
    if missing or held != (rows, sum(hashes)) or await known_count(source, table) != rows:
        rows += await _compare_the_rest(connection, source, table, findings, hashes)
    return rows, held[0]


async def _compare_the_rest(
    connection: AsyncConnection, source: Source, table: CopyTable, findings: Findings, hashes: array[int]
) -> int:
    """Look at rows of the source that the pages did not bring, and find those that it lacks; returns how many came."""
    rows = 0
    async with source_keys(connection, source, table) as listing:
        require_whole(listing, source, table, step="verify", pending=f"the rest of {table.name}")
        async with dropped_after(connection, "compared_keys"):
            await connection.execute("CREATE TEMP TABLE compared_keys (h bigint)")
            async with connection.cursor() as cursor, cursor.copy("COPY compared_keys FROM STDIN") as copied:
                for one in hashes:
                    await copied.write_row((one,))
            await connection.execute("ANALYZE compared_keys")
            query = keys_not_compared(table).as_string(connection)
            async for keys in stream_keys(connection, query):
                rows += len(keys)
                await findings.look(keys)
            async for keys in stream_keys(connection, extra_keys(table).as_string(connection) + " ORDER BY 1"):
                await findings.suspect(keys, in_source=False)
    return rows
