"""The order of a verify: which tables are compared, in which way, and what is reported of them."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import datetime
from time import monotonic

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.errors import MigrationError
from app.migration.load.refusals import refuse_distributed
from app.migration.load.table_authority import read_authority
from app.migration.runs.beside_stream import BesideStream
from app.migration.runs.report import TableVerified, VerifyReport
from app.migration.sources.moved_tables import choose_moved
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.rest.text_settings import require_readable_texts
from app.migration.sources.source import Progress, Source
from app.migration.tables.copy_table import CopyTable, name_of
from app.migration.tables.described_table import describe
from app.migration.target.columns_of_both import compared_table
from app.migration.target.followed_sequences import follow_source
from app.migration.target.foreign_keys import describe_away, unproved_keys, without_cascades
from app.migration.target.materialized_views import never_filled, refresh, stale_view
from app.migration.target.target_session import explained, open_target
from app.migration.verify.findings import Findings
from app.migration.verify.keyed_comparison import KeyedComparison
from app.migration.verify.options import Verification, VerifyOptions
from app.migration.verify.whole_comparison import WholeComparison, compare_views
from app.state.runs import runs
from app.state.runs.verifications import begin_verification, keep_verification
from app.state.tool_schema import ensure_tool_schema


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
    run, styled = None, isinstance(source, RestSource)
    with explained(step, pending="everything; nothing was compared"):
        authority = await read_authority(connection)
        stream = await BesideStream.find(connection, source.label, progress.notice)
        tables, not_moved = await choose_moved(connection, source, tables, progress, step=step)
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
        work = Verification(connection, source, progress, options, run, stream)
        compared, moments = await _compare(work, tables)
        verified: list[TableVerified] = []
        for position, (one, began_at) in enumerate(zip(compared, moments, strict=True)):
            with _at(tables, position, [table.table for table in verified], step=step, source=source):
                done = await one.verified(work)
                if began_at is not None and done.sampled is None:
                    differences = max(done.rows_that_differ, int(not done.counts_agree))
                    await keep_verification(connection, source.label, done.table, began_at, differences)
                verified.append(done)
    described = [one.described for one in compared]
    if run is not None:
        with explained(step, setting=source.setting, done="every table", pending="to note the end of the fix"):
            await runs.finish(connection, run)
    with explained(step, setting=source.setting, done="every table", pending="to look at what is made of them"):
        if run is not None:
            await _follow_fixed(work, described, verified)
        not_usable = await never_filled(connection, described)
        views = await compare_views(connection, source, described)
        not_usable += [stale_view(one.view, str(one.why)) for one in views if one.stale]
        if away := await describe_away(connection):
            progress.notice(away)
        unproved = await unproved_keys(connection)
    return VerifyReport(
        tables=tuple(verified),
        seconds=monotonic() - began,
        sample=options.sample,
        fix=options.fix,
        managed=authority.managed,
        instead=authority.moved_out[1] if authority.moved_out is not None else None,
        newer=options.permit.closed(authority, [name_of(table) for table in tables]),
        not_usable=tuple(not_usable),
        views=views,
        not_moved=not_moved,
        unproved=tuple(unproved),
        stream_stands=stream.stands if stream is not None else None,
    )


async def _compare(
    work: Verification, tables: Sequence[Table]
) -> tuple[list[KeyedComparison | WholeComparison], list[datetime | None]]:
    """Compare one table after the other; then read again what seems to differ, of all of them.

    Returns:
        Of each what was found, and when it was begun, by the target's clock; None where that is not kept.
    """
    connection, source, step = work.connection, work.source, work.options.step
    compared: list[KeyedComparison | WholeComparison] = []
    moments: list[datetime | None] = []
    for position, table in enumerate(tables):
        with _at(tables, position, [one.table.name for one in compared], step=step, source=source):
            styled = isinstance(source, RestSource)
            described = await describe(connection, table, step=step, reads=work.run is None, styled=styled)
            whole, left_out = await compared_table(connection, source, described, table)
            kind = KeyedComparison if described.key else WholeComparison
            moments.append(await begin_verification(connection))
            compared.append(await kind.compare(work, whole, described, left_out))
    with explained(step, setting=source.setting, done="every table read", pending="to read again what differs"):
        if any(isinstance(one, WholeComparison) and one.first.differs for one in compared):
            await asyncio.sleep(work.options.pause)
        await _read_again([one.findings for one in compared if isinstance(one, KeyedComparison)])
    return compared, moments


async def _follow_fixed(work: Verification, tables: Sequence[CopyTable], verified: Sequence[TableVerified]) -> None:
    """After a fix: set the sequences as far as the source's, and refresh what is made of the tables that were fixed."""
    left, not_seen = await follow_source(work.connection, work.source, tables)
    for told in [*not_seen, *(f"{one.name}: {one.why}; run: {one.statement}" for one in left)]:
        work.progress.notice(told)
    fixed = [table for table, one in zip(tables, verified, strict=True) if one.fixed]
    await refresh(work.connection, fixed, work.progress, stale=True)


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


async def _read_again(tables: Sequence[Findings]) -> None:
    """Read again what seems to differ, of all tables: what waits in one of them waits beside the others."""
    while looks := [look for findings in tables if (look := findings.next_look) is not None]:
        await asyncio.sleep(max(0.0, min(looks) - monotonic()))
        for findings in tables:
            await findings.settle_ready()
