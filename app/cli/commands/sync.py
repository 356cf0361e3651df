"""The command `botdata sync`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.commands.preflight import accepted_of
from app.cli.options import (
    Accept,
    AsJson,
    By,
    KeyRoleOk,
    MaxRate,
    Metadata,
    SourceSchema,
    SourceUrl,
    Tables,
    WithBaileys,
    again,
)
from app.cli.progress import progress
from app.cli.render import show
from app.cli.work import Work

if TYPE_CHECKING:
    from app.migration.preflight.findings import Accepted, Finding
    from app.migration.stream.options import FollowOptions
    from app.migration.sync.options import SyncOptions
    from app.migration.sync.sync_report import SyncReport

_MAX_WAL = 10_240  # MB


def sync(
    follow: Annotated[bool, typer.Option("--follow", help="Repeat until stopped with Ctrl-C or SIGTERM.")] = False,
    until_clean: Annotated[
        bool, typer.Option("--until-clean", help="Repeat until two rounds in a row find nothing.")
    ] = False,
    reverse: Annotated[
        bool, typer.Option("--reverse", help="From your PostgreSQL to the source: the way back.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be changed and deleted; write to no table.")
    ] = False,
    tables: Tables = None,
    with_baileys: WithBaileys = False,
    interval: Annotated[float, typer.Option(help="Seconds between rounds.", min=0.1)] = 2.0,
    max_deletes: Annotated[int, typer.Option(help="Rows that one round may delete.", min=0)] = 100,
    max_quarantine: Annotated[int, typer.Option(help="Refused rows past which it stops.", min=0)] = 1000,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Although the side written to may hold what the other has not.")
    ] = False,
    max_rate: MaxRate = None,
    by: Annotated[
        By,
        typer.Option(help="How changes are found: by rows' versions, or by a change stream."),
    ] = By.XMIN,
    until_lsn: Annotated[
        str | None,
        typer.Option("--until-lsn", help="With --by stream: end when the target is as of then.", metavar="LSN|now"),
    ] = None,
    max_wal: Annotated[
        int, typer.Option("--max-wal", help="MB of the source's log past which the stream is given up.", min=1)
    ] = _MAX_WAL,
    accept_unbounded_wal: Annotated[
        bool, typer.Option("--accept-unbounded-wal", help="Although max_slot_wal_keep_size is -1 at the source.")
    ] = False,
    key_role_ok: KeyRoleOk = False,
    source: SourceUrl = None,
    source_schema: SourceSchema = None,
    metadata: Metadata = None,
    accept: Accept = None,
    as_json: AsJson = False,
) -> None:
    """Bring the target to the source's present state. Inserts, updates and deletions, as often as you like.

    Example: botdata sync --with-baileys --until-clean
    """
    from app.cli.reports.sync_report import sync_document, sync_words
    from app.migration.sync.options import SyncOptions

    if follow and until_clean:
        raise typer.BadParameter("it goes on until stopped, and so has no other end", param_hint="--follow")
    if accept and not reverse:
        raise typer.BadParameter("it goes with --reverse only", param_hint="--accept")
    if by is By.STREAM and (dry_run or until_clean or follow is (until_lsn is not None)):
        raise typer.BadParameter("it goes with --follow or with --until-lsn", param_hint="--by")
    if until_lsn is not None and by is not By.STREAM:
        raise typer.BadParameter("it goes with --by stream only", param_hint="--until-lsn")
    accepted = accepted_of(None, accept)
    streams = by is By.STREAM
    own = again(
        reverse=reverse,
        follow=follow,
        until_clean=until_clean,
        overwrite=overwrite,
        by=by if streams else None,
        until_lsn=until_lsn,
        max_wal=max_wal if streams and max_wal != _MAX_WAL else None,
        accept_unbounded_wal=streams and accept_unbounded_wal,
        accept=accept,
    )
    work = Work.prepare(
        "sync", tables, with_baileys, key_role_ok, source, metadata, source_schema, own=own, max_rate=max_rate
    )
    if streams:
        work.require_stream("--by")
    options = SyncOptions(
        reverse=reverse,
        follow=follow and not dry_run,
        until_clean=until_clean or until_lsn is not None,
        interval=interval,
        most_deleted=max_deletes,
        most_refused=max_quarantine,
        overwrite=overwrite,
        target_in_use=work.settings.flags.use_repository_pattern,
        named=tables is not None,
        settles_after=work.settings.outcome_settles_after,
        dry_run=dry_run,
    )
    fires = work.carry_out(lambda: _fires_at_source(work, accepted, dry_run=dry_run)) if reverse else ()
    report = _run(work, options, _stream_options(until_lsn, max_wal, accept_unbounded_wal) if streams else None)
    found = sync_document(report, work.given, fires)
    show(found, sync_words(report, found, fires), as_json)


async def _fires_at_source(work: Work, accepted: Accepted, *, dry_run: bool) -> Sequence[Finding]:
    """What the source does by itself with rows that go back, all of it accepted; a dry run names the rest too."""
    from app.migration.preflight.writes import examine_source_writes, refuse_unaccepted

    found = await examine_source_writes(work.source_url, work.tables)
    return found if dry_run else refuse_unaccepted(found, accepted)


def _stream_options(until_lsn: str | None, max_wal: int, accept_unbounded_wal: bool) -> FollowOptions:
    from app.migration.stream.options import FollowOptions
    from app.migration.stream.source.slot import parse_lsn

    until_now = until_lsn is not None and until_lsn.lower() == "now"
    try:
        lsn = None if until_lsn is None or until_now else parse_lsn(until_lsn)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--until-lsn") from None
    return FollowOptions(
        most_held=max_wal * 1024**2, until_lsn=lsn, until_now=until_now, accept_unbounded=accept_unbounded_wal
    )


def _run(work: Work, options: SyncOptions, stream: FollowOptions | None) -> SyncReport:
    import asyncio
    import signal
    from contextlib import AsyncExitStack

    from app.cli.reports.sync_report import RoundLines, sync_end
    from app.migration.runs.kept_work import kept_progress
    from app.migration.sources.source import Progress
    from app.migration.stream.reverse_stream import ReverseStreamSync
    from app.migration.stream.stream_sync import StreamSync
    from app.migration.sync.syncer import Sync
    from app.notify.looking import looking

    with progress("sync") as bars:

        async def run() -> SyncReport:
            stop = asyncio.Event()
            lines = RoundLines(bars.notice, quiet=not (options.follow or options.until_clean))
            if options.follow:
                for number in (signal.SIGINT, signal.SIGTERM):
                    asyncio.get_running_loop().add_signal_handler(number, stop.set)
            async with AsyncExitStack() as beside:
                told: Progress = bars
                await beside.enter_async_context(work.paced(bars.notice))
                if not options.dry_run:
                    told = await beside.enter_async_context(kept_progress(bars, work.target))
                if options.follow:
                    await beside.enter_async_context(looking(work.settings))
                ends = (lambda: work.open_source(bars.notice), work.target, work.tables)
                if stream is None:
                    return await Sync(*ends, told, options, stop=stop, on_round=lines.add).run()
                way = ReverseStreamSync if options.reverse else StreamSync
                return await way(*ends, told, options, stream, stop=stop, on_round=lines.add).run()

        return work.carry_out(run, None if options.dry_run else lambda report: sync_end(report, work.given))
