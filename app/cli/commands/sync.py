"""The command `botdata sync`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.commands.preflight import Accept, accepted_of, repeated
from app.cli.work import AsJson, KeyRoleOk, MaxRate, Metadata, SourceSchema, SourceUrl, Tables, WithBaileys, Work

if TYPE_CHECKING:
    from app.migration.preflight.findings import Accepted, Finding
    from app.migration.sync.options import SyncOptions
    from app.migration.sync.sync_report import SyncReport


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command()(sync)


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
    from app.cli.output import show_json
    from app.cli.reports.sync_report import show_sync, sync_document
    from app.migration.sync.options import SyncOptions

    if follow and until_clean:
        raise typer.BadParameter("it goes on until stopped, and so has no other end", param_hint="--follow")
    if accept and not reverse:
        raise typer.BadParameter("it goes with --reverse only", param_hint="--accept")
    accepted = accepted_of(None, accept)
    switches = {"--reverse": reverse, "--follow": follow, "--until-clean": until_clean, "--overwrite": overwrite}
    own = [name for name, is_on in switches.items() if is_on]
    own += repeated(None, accept)
    work = Work.prepare(
        "sync", tables, with_baileys, key_role_ok, source, metadata, source_schema, own=own, max_rate=max_rate
    )
    options = SyncOptions(
        reverse=reverse,
        follow=follow and not dry_run,
        until_clean=until_clean,
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
    report = _run(work, options)
    if as_json:
        show_json(sync_document(report, work.given, fires))
    else:
        show_sync(report, work.given, fires)
    if not report.complete:
        raise typer.Exit(1)


async def _fires_at_source(work: Work, accepted: Accepted, *, dry_run: bool) -> Sequence[Finding]:
    """What the source does by itself with rows that go back, all of it accepted; a dry run names the rest too."""
    from app.migration.preflight.source_writes import examine_source_writes, refuse_unaccepted

    found = await examine_source_writes(work.source_url, work.tables)
    return found if dry_run else refuse_unaccepted(found, accepted)


def _run(work: Work, options: SyncOptions) -> SyncReport:
    import asyncio
    import signal
    from contextlib import AsyncExitStack

    from app.cli.commands.notify.step_ends import sync_end
    from app.cli.output import progress
    from app.cli.reports.sync_report import RoundLines
    from app.migration.progress import Progress
    from app.migration.runs.kept_progress import kept_progress
    from app.migration.sync.syncer import Sync
    from app.notify.troubles import looking

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
                syncing = Sync(
                    lambda: work.open_source(bars.notice),
                    work.target,
                    work.tables,
                    told,
                    options,
                    stop=stop,
                    on_round=lines.add,
                )
                return await syncing.run()

        return work.carry_out(run, None if options.dry_run else lambda report: sync_end(report, work.given))
