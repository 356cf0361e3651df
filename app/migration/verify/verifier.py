"""Comparing the rows of the source with the target's: what the source holds against what the target holds, as text."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.errors import MigrationError
from app.migration.keys.key_counts import count_target
from app.migration.load.distributed import refuse_distributed
from app.migration.load.table_authority import Permit, read_authority
from app.migration.progress import Progress
from app.migration.runs.beside_stream import BesideStream
from app.migration.runs.report import TableVerified, VerifyReport
from app.migration.sources.counts import exact_count
from app.migration.sources.moved_tables import choose_moved
from app.migration.sources.postgres.null_keys import refuse_null_keys
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.rest.text_settings import require_readable_texts
from app.migration.sources.sample import pick_keys
from app.migration.sources.source import Source
from app.migration.tables.copy_table import CopyTable, name_of
from app.migration.tables.described_table import describe
from app.migration.target.followed_sequences import follow_source
from app.migration.target.foreign_keys import describe_away, unproved_keys, without_cascades
from app.migration.target.generated_columns import compared_table
from app.migration.target.leftovers import LeftOut
from app.migration.target.materialized_views import never_filled, refresh, stale
from app.migration.target.sequences import raise_sequences
from app.migration.target.target_session import explained, open_target
from app.migration.verify.findings import Findings
from app.migration.verify.fix import Fixer
from app.migration.verify.hash_comparison import compare_by_hashes
from app.migration.verify.page_comparison import compare_by_pages
from app.migration.verify.view_comparison import compare_views
from app.migration.verify.whole_comparison import WholeComparison
from app.migration.whole.replacement import bring_whole
from app.state.runs import runs
from app.state.runs.verifications import begin_verification, keep_verification
from app.state.tool_schema import ensure_tool_schema

_LOOKED_AT_ONCE = 1000
_RECOUNTS, _RECOUNTS_BESIDE_STREAM = 3, 10


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """How to verify.

    Attributes:
        fix: copy rows that are missing or different again.
        sample: compare only so many rows of a table, picked at random; None: all.
        overwrite: fix although the target is the bot's store already.
        target_in_use: the flag says that the bot reads and writes PostgreSQL.
        most_refused: rows that the target refuses in a fix, past which it stops.
        pause: seconds before a row that seems to differ is read once more.
        most_differences: differences of a table that the report keeps; all are counted.
    """

    fix: bool = False
    sample: int | None = None
    overwrite: bool = False
    target_in_use: bool = False
    most_refused: int = 1000
    pause: float = 1.0
    most_differences: int = 10_000

    @property
    def step(self) -> str:
        """The step's name, for messages."""
        return "verify --fix" if self.fix else "verify"

    @property
    def permit(self) -> Permit:
        """Under what conditions a fix may write."""
        return Permit(
            step="verify --fix",
            would="to copy rows again would overwrite what the bot has written since",
            in_use=self.target_in_use,
            overwrite=self.overwrite,
            instead="verify",
        )


async def verify(
    source: Source, target_url: str, tables: Sequence[Table], progress: Progress, options: VerifyOptions | None = None
) -> VerifyReport:
    """Compare the tables, over a database connection by hashes, else page by page.

    Writes nothing but temporary tables where something differs; a fix writes the rows that do.

    Raises:
        MigrationError: one of the sides cannot be read, or a fix was refused.
    """
    options = options or VerifyOptions()
    async with open_target(target_url, step=options.step, exclusive=options.fix) as connection:
        return await verify_on(connection, source, tables, progress, options)


async def verify_on(
    connection: AsyncConnection, source: Source, tables: Sequence[Table], progress: Progress, options: VerifyOptions
) -> VerifyReport:
    """The same, in a session at the target; a fix needs the lock of a run there."""
    step = options.step
    began = monotonic()
    verified: list[TableVerified] = []
    compared: list[_Comparison | WholeComparison] = []
    run, styled = None, isinstance(source, RestSource)
    with explained(step, pending="everything; nothing was compared"):
        authority = await read_authority(connection)
        stream = await BesideStream.find(connection, source.label, progress.notice)
        moved = await choose_moved(connection, source, tables, progress, step=step)
        tables = moved.tables
    if isinstance(source, RestSource):
        with explained(step, setting=source.setting, pending="everything; nothing was compared"):
            all_described = [await describe(connection, table, step=step, reads=True) for table in tables]
            await require_readable_texts(source, all_described, progress.notice, step=step)
    async with AsyncExitStack() as ends:
        if options.fix:
            with explained(step, setting=source.setting, pending="everything; nothing was written"):
                options.permit.refuse(authority, [name_of(table) for table in tables])
                await refuse_distributed(connection, tables, step=step)
                await ensure_tool_schema(connection)
                run = await runs.begin_instead(connection, step, source.label)
                written = [await describe(connection, table, step=step, styled=styled) for table in tables]
            await ends.enter_async_context(without_cascades(connection, run, written, step=step))
        for position, table in enumerate(tables):
            with _at(tables, position, [one.table.name for one in compared], step=step, source=source):
                described = await describe(connection, table, step=step, reads=run is None, styled=styled)
                whole, left_out = await compared_table(connection, source, described, table)
                if not described.key and isinstance(source, PostgresSource):
                    both = whole, described
                    compared.append(await WholeComparison.compare(connection, source, both, left_out, progress))
                    continue
                fixer = None
                if run is not None:
                    most = options.most_refused
                    fixer = Fixer(connection, source, described, run, options.permit, most_refused=most)
                beside = stream if stream is not None and whole.name in stream.tables else None
                comparison = await _compare_table(connection, source, whole, progress, options, fixer, beside)
                compared.append(replace(comparison, described=described, left_out=left_out))
        with explained(step, setting=source.setting, done="every table read", pending="to read again what differs"):
            if any(isinstance(one, WholeComparison) and one.differs for one in compared):
                await asyncio.sleep(options.pause)
            await _read_again([one.findings for one in compared if isinstance(one, _Comparison)])
        for position, one in enumerate(compared):
            with _at(tables, position, [done.table for done in verified], step=step, source=source):
                if isinstance(one, _Comparison):
                    verified.append(await _verified(connection, source, one, options))
                else:
                    verified.append(await _verified_whole(connection, source, one, options, run))
    tables_described = [comparison.described for comparison in compared]
    if run is not None:
        with explained(step, setting=source.setting, done="every table", pending="to note the end of the fix"):
            await runs.finish(connection, run)
    with explained(step, setting=source.setting, done="every table", pending="to look at what is made of them"):
        if run is not None:
            left, not_seen = await follow_source(connection, source, tables_described)
            for told in [*not_seen, *(f"{one.name}: {one.why}; run: {one.statement}" for one in left)]:
                progress.notice(told)
            fixed = [table for table, one in zip(tables_described, verified, strict=True) if one.fixed]
            await refresh(connection, fixed, progress, stale=True)
        not_usable = await never_filled(connection, tables_described)
        views = await compare_views(connection, source, tables_described)
        not_usable += [stale(one.view, str(one.why)) for one in views if one.stale]
        if away := await describe_away(connection):
            progress.notice(away)
        unproved = await unproved_keys(connection)
    return VerifyReport(
        tables=tuple(verified),
        seconds=monotonic() - began,
        sample=options.sample,
        fix=options.fix,
        managed=authority.managed,
        newer=options.permit.closed(authority, [name_of(table) for table in tables]),
        not_usable=tuple(not_usable),
        views=views,
        not_moved=moved.not_moved,
        unproved=tuple(unproved),
        stream_stands=stream.stands if stream is not None else None,
    )


@contextmanager
def _at(tables: Sequence[Table], position: int, done: Sequence[str], *, step: str, source: Source) -> Iterator[None]:
    """At one of the tables: errors say which are compared already, and which are left."""
    name = name_of(tables[position])
    said = ", ".join(f"{one} compared" for one in done) or "nothing compared yet"
    pending = ", ".join([f"the rest of {name}", *map(name_of, tables[position + 1 :])])
    try:
        with explained(step, setting=source.setting, table=name, done=said, pending=pending):
            yield
    except MigrationError as error:
        error.done, error.pending = error.done or said, pending
        raise


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A table whose rows were read on both sides; those that seem to differ wait to be read again.

    Attributes:
        table: with the columns that are compared.
        described: with all columns.
        began_at: by the target's clock; None where what it finds is not kept.
        source_rows, target_rows: as they were counted meanwhile.
        seconds: that it took.
    """

    table: CopyTable
    described: CopyTable
    findings: Findings
    began_at: datetime | None
    sampled: int | None
    source_rows: int
    target_rows: int
    seconds: float
    left_out: tuple[LeftOut, ...] = ()


async def _compare_table(
    connection: AsyncConnection,
    source: Source,
    table: CopyTable,
    progress: Progress,
    options: VerifyOptions,
    fixer: Fixer | None,
    stream: BesideStream | None,
) -> _Comparison:
    began = monotonic()
    findings = Findings(
        connection,
        source,
        table,
        pause=options.pause,
        most=options.most_differences,
        recount=not isinstance(source, PostgresSource),
        fixer=fixer,
        stream=stream,
    )
    began_at = await begin_verification(connection)
    await findings.begin()
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
    return _Comparison(table, table, findings, began_at, sampled, source_rows, target_rows, seconds)


async def _read_again(tables: Sequence[Findings]) -> None:
    """Read again what seems to differ, of all tables: what waits in one of them waits beside the others."""
    while looks := [look for findings in tables if (look := findings.next_look) is not None]:
        await asyncio.sleep(max(0.0, min(looks) - monotonic()))
        for findings in tables:
            await findings.settle_ready()


async def _verified(
    connection: AsyncConnection, source: Source, comparison: _Comparison, options: VerifyOptions
) -> TableVerified:
    began = monotonic()
    table, findings, sampled = comparison.table, comparison.findings, comparison.sampled
    source_rows, target_rows = comparison.source_rows, comparison.target_rows
    await findings.finish()
    if findings.fixer is not None:
        await raise_sequences(connection, table)
    if findings.fixed:
        target_rows = await count_target(connection, table)
    source_rows -= 0 if sampled is not None else findings.gone
    explained = 0 if sampled is not None else findings.extra - findings.missing
    recounts = _RECOUNTS if findings.stream is None else _RECOUNTS_BESIDE_STREAM
    counts = await _agreeing(connection, source, table, options.pause, source_rows, target_rows, explained, recounts)
    if comparison.began_at is not None and sampled is None:
        differences = findings.missing + findings.extra + findings.different
        differences = differences if counts.agree else max(1, differences)
        await keep_verification(connection, source.label, table.name, comparison.began_at, differences)
    compared = source_rows + findings.gone if sampled is None else sampled
    return TableVerified(
        table=table.name,
        source_rows=counts.source,
        target_rows=counts.target,
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
        left_out=comparison.left_out,
        seconds=comparison.seconds + monotonic() - began,
        counts_agree=counts.agree,
    )


async def _verified_whole(
    connection: AsyncConnection, source: Source, comparison: WholeComparison, options: VerifyOptions, run: int | None
) -> TableVerified:
    assert isinstance(source, PostgresSource)
    if run is not None and comparison.differs:
        table, most = comparison.described, options.most_refused
        done = await bring_whole(connection, source, table, run, options.permit, most_refused=most)
        comparison.fixed = done.loaded.inserted + done.loaded.updated
        await raise_sequences(connection, table)
    verified = await comparison.verified(connection, source, most=options.most_differences)
    if comparison.began_at is not None:
        differences = verified.missing + verified.extra
        await keep_verification(connection, source.label, verified.table, comparison.began_at, differences)
    return verified


async def _look_at_sample(source: Source, table: CopyTable, findings: Findings, progress: Progress, wanted: int) -> int:
    """Look at some rows; returns how many."""
    keys = await pick_keys(source, table, wanted)
    progress.begin(table.name, len(keys), 0)
    for first in range(0, len(keys), _LOOKED_AT_ONCE):
        await findings.look(keys[first : first + _LOOKED_AT_ONCE])
        progress.advance(table.name, len(keys[first : first + _LOOKED_AT_ONCE]))
    return len(keys)


@dataclass(frozen=True, slots=True)
class _Counts:
    source: int
    target: int
    agree: bool


async def _agreeing(
    connection: AsyncConnection,
    source: Source,
    table: CopyTable,
    pause: float,
    ours: int,
    held: int,
    more: int,
    recounts: int,
) -> _Counts:
    """The counts of both sides; counted again a few times where they do not agree, since either may just be changing.

    What brings rows over may be a moment late, so the target may hold as many as the source had at an earlier count.

    Args:
        ours, held: the rows of the source and of the target, as they were counted first.
        more: how many more the target holds, by the rows that were found to differ.
    """
    if held == ours + more:
        return _Counts(ours, held, True)
    counted = [ours]
    for _ in range(recounts):
        await asyncio.sleep(pause)
        counted.append(await exact_count(source, table))
        held = await count_target(connection, table)
        counted.append(await exact_count(source, table))
        if min(counted) + more <= held <= max(counted) + more:
            return _Counts(held - more, held, True)
    return _Counts(counted[-1], held, False)
