"""Comparing the rows of the source with the target's: what the source holds against what the target holds, as text."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import monotonic

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.errors import MigrationError
from app.migration.authority import Permit, read_authority
from app.migration.compare_hashes import compare_by_hashes
from app.migration.compare_pages import compare_by_pages
from app.migration.completeness import count_target
from app.migration.findings import Findings
from app.migration.fix import Fixer, begin_fix, finish_fix
from app.migration.foreign_keys import describe_away, without_cascades
from app.migration.postgres_source import PostgresSource
from app.migration.report import Progress, TableVerified, VerifyReport
from app.migration.sample import pick_keys
from app.migration.sequences import raise_sequences
from app.migration.source import Source
from app.migration.tables import CopyTable, describe, name_of
from app.migration.target import explained, open_target
from app.migration.tool_schema import ensure_tool_schema
from app.migration.verify_record import begin_record

_LOOKED_AT_ONCE = 1000


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
    def permit(self) -> Permit:
        """Under what conditions a fix may write."""
        return Permit(
            step="verify --fix",
            would="to copy rows again would overwrite what the bot has written since",
            in_use=self.target_in_use,
            overwrite=self.overwrite,
            instead="botdata verify; or ",
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
    step = "verify --fix" if options.fix else "verify"
    began = monotonic()
    verified: list[TableVerified] = []
    async with open_target(target_url, step=step, exclusive=options.fix) as connection:
        run = None
        with explained(step, pending="everything; nothing was compared"):
            authority = await read_authority(connection)
        async with AsyncExitStack() as ends:
            if options.fix:
                with explained(step, setting=source.setting, pending="everything; nothing was written"):
                    options.permit.refuse(authority, [name_of(table) for table in tables])
                    await ensure_tool_schema(connection)
                    run = await begin_fix(connection, source.label)
                    written = [await describe(connection, table, step=step) for table in tables]
                await ends.enter_async_context(without_cascades(connection, run, written, step=step))
            for position, table in enumerate(tables):
                done = ", ".join(f"{one.table} compared" for one in verified) or "nothing compared yet"
                pending = ", ".join([f"the rest of {name_of(table)}", *map(name_of, tables[position + 1 :])])
                try:
                    with explained(step, setting=source.setting, table=name_of(table), done=done, pending=pending):
                        described = await describe(connection, table, step=step, reads=True)
                        verified.append(await _verify_table(connection, source, described, progress, options, run))
                except MigrationError as error:
                    error.done, error.pending = error.done or done, pending
                    raise
        if run is not None:
            with explained(step, setting=source.setting, done="every table", pending="to note the end of the fix"):
                await finish_fix(connection, run)
        with explained(step, done="every table", pending="to look for foreign keys that are away"):
            if away := await describe_away(connection):
                progress.notice(away)
    return VerifyReport(
        tables=tuple(verified),
        seconds=monotonic() - began,
        sample=options.sample,
        fix=options.fix,
        managed=authority.managed,
        newer=options.permit.closed(authority, [name_of(table) for table in tables]),
    )


async def _verify_table(
    connection: AsyncConnection,
    source: Source,
    table: CopyTable,
    progress: Progress,
    options: VerifyOptions,
    run: int | None,
) -> TableVerified:
    began = monotonic()
    findings = Findings(
        connection,
        source,
        table,
        pause=options.pause,
        most=options.most_differences,
        recount=not isinstance(source, PostgresSource),
        fixer=Fixer(connection, source, table, run, options.permit, most_refused=options.most_refused)
        if run is not None
        else None,
    )
    record = await begin_record(connection)
    await findings.begin()
    sampled = None
    if options.sample is not None:
        sampled = await _look_at_sample(source, table, findings, progress, options.sample)
        source_rows, target_rows = await _count_both(connection, source, table, options.pause)
    elif isinstance(source, PostgresSource):
        source_rows, target_rows = await compare_by_hashes(connection, source, table, findings, progress)
    else:
        source_rows, target_rows = await compare_by_pages(connection, source, table, findings, progress)
    await findings.finish()
    if run is not None:
        await raise_sequences(connection, table)
    if findings.fixed:
        target_rows = await count_target(connection, table)
    if record is not None and sampled is None:
        await record.end(source.label, table.name, findings.missing + findings.extra + findings.different)
    compared = source_rows if sampled is None else sampled
    return TableVerified(
        table=table.name,
        source_rows=source_rows if sampled is not None else source_rows - findings.gone,
        target_rows=target_rows,
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
        seconds=monotonic() - began,
    )


async def _look_at_sample(source: Source, table: CopyTable, findings: Findings, progress: Progress, wanted: int) -> int:
    """Look at some rows; returns how many."""
    keys = await pick_keys(source, table, wanted)
    progress.begin(table.name, len(keys), 0)
    for first in range(0, len(keys), _LOOKED_AT_ONCE):
        await findings.look(keys[first : first + _LOOKED_AT_ONCE])
        progress.advance(table.name, len(keys[first : first + _LOOKED_AT_ONCE]))
    return len(keys)


async def _count_both(connection: AsyncConnection, source: Source, table: CopyTable, pause: float) -> tuple[int, int]:
    """Rows of both sides; counted once more where they differ, since either may just be changing."""
    both = await source.count(table), await count_target(connection, table)
    if both[0] != both[1]:
        await asyncio.sleep(pause)
        both = await source.count(table), await count_target(connection, table)
    return both
