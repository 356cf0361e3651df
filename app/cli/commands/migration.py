"""The commands migrate and upgrade."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.commands.copy import JOBS, Jobs, MaxQuarantine, Overwrite, Restart, copy_options, own_options
from app.cli.commands.preflight import accepted_of, stop_on_errors
from app.cli.options import (
    Accept,
    AsJson,
    IgnoreColumn,
    KeyRoleOk,
    MaxRate,
    Metadata,
    ShowValues,
    SourceSchema,
    SourceUrl,
    Tables,
    WithBaileys,
    again,
)
from app.cli.project import read_project
from app.cli.render import Document, document, say, say_words, show
from app.cli.running import load_settings, run_async
from app.cli.work import Work, refuse_source_as_target
from app.errors import MigrationError
from app.next_step import Command

if TYPE_CHECKING:
    from app.migration.migrate import MigrateReport
    from app.notify.steps import StepEnd
    from app.schema.revisions import Upgrade

_COPY = Command("copy")


def migrate(
    tables: Tables = None,
    with_baileys: WithBaileys = False,
    overwrite: Overwrite = False,
    restart: Restart = False,
    key_role_ok: KeyRoleOk = False,
    source: SourceUrl = None,
    source_schema: SourceSchema = None,
    metadata: Metadata = None,
    ignore_column: IgnoreColumn = None,
    accept: Accept = None,
    max_quarantine: MaxQuarantine = 1000,
    jobs: Jobs = JOBS,
    max_rate: MaxRate = None,
    show_values: ShowValues = False,
    as_json: AsJson = False,
) -> None:
    """The whole move: upgrade the schema, copy and verify every row.

    Example: botdata migrate --with-baileys
    """
    from app.cli.reports.copy_report import copy_document, copy_end, copy_words
    from app.cli.reports.verify_report import verify_document, verify_end, verify_words
    from app.migration.copy.copier import CopyOptions
    from app.migration.migrate import migrate as move

    work = Work.prepare(
        "migrate",
        tables,
        with_baileys,
        key_role_ok,
        source,
        metadata,
        source_schema,
        checks=again(ignore_column=ignore_column, accept=accept),
        own=own_options(overwrite=overwrite, jobs=jobs),
        max_rate=max_rate,
    )

    async def look(options: CopyOptions) -> CopyOptions:
        accepted = accepted_of(ignore_column, accept)
        unseen = await stop_on_errors(work, accepted, key_role_ok=key_role_ok, upgrades=True)
        return replace(options, types_unseen=unseen)

    moving = partial(
        move,
        work.target,
        work.tables,
        copy_options(work, overwrite=overwrite, restart=restart, max_quarantine=max_quarantine, jobs=jobs),
        upgrade=upgrade_of(work),
        look=look,
        working=work.working,
        on_upgrade=_say_upgrade,
        on_copy=lambda report: say_words(copy_words(report, copy_document(report, work.given), work.given)),
    )

    def end_of(report: MigrateReport) -> StepEnd:
        ends = copy_end(report.copied, work.given), verify_end(report.verified, work.given)
        is_left = report.verified.clean and not report.copied.complete  # its rows are equal, and something else is left
        return replace(
            ends[0 if is_left else 1],
            complete=report.complete,
            told=f"{ends[0].told}; verified {ends[1].told}",
            facts={"copy": dict(ends[0].facts), "verify": dict(ends[1].facts)},
            differences=ends[1].differences,
        )

    report = work.carry_out(moving, end_of)
    copied, verified = copy_document(report.copied, work.given), verify_document(report.verified, work.given)
    following = None
    if report.verified.clean and not report.copied.complete:  # its rows are equal, and something else is left
        following = copied["next"]
    found = document(
        "migrate",
        ok=report.complete,
        upgrade=_upgrade_document(report.upgraded) if report.upgraded else None,
        copy=copied,
        verify=verified,
        next=following or verified["next"],
    )
    words = verify_words(
        report.verified, verified, work.given, show_values=show_values and not as_json, following=following
    )
    show(found, words, as_json, beside=True)


def upgrade_of(work: Work) -> Callable[[], Awaitable[Upgrade]] | None:
    """What upgrades the target's schema: the bot's revisions, those of a project that names its own, or nothing."""
    from app.schema import revisions
    from app.schema.project import upgrade_project

    async def upgrade_own() -> Upgrade:
        return revisions.upgrade(work.target)  # it has the loop to itself: nothing else runs yet

    configuration = work.revisions
    if configuration is not None:
        return lambda: upgrade_project(configuration, work.target, step="migrate")
    return None if work.given.foreign else upgrade_own


def upgrade(
    revision: Annotated[str, typer.Argument(help="The revision to reach.")] = "head", as_json: AsJson = False
) -> None:
    """Upgrade the target's schema, and then the tool's own. Each in one transaction.

    Example: botdata upgrade
    """
    from app.schema import revisions
    from app.schema.project import upgrade_project

    settings = load_settings()
    url = settings.require_database_url()
    refuse_source_as_target(settings, url)
    run_async(_look_first(url))
    configuration = read_project().revisions
    if configuration is not None:
        done = run_async(upgrade_project(configuration, url, revision=revision))
    else:
        done = revisions.upgrade(url, revision)
    _say_upgrade(done)
    try:
        following = run_async(_upgrade_tool_schema(url))
    except MigrationError as error:
        if done.before != done.after:
            error.done = "the schema's upgrade"
        raise
    show(_upgrade_document(done, following), [f"Next: {following}"], as_json, beside=True)


def _say_upgrade(done: Upgrade) -> None:
    for notice in done.notices:
        say(f"{'warning: ' if notice.warning else ''}{notice.text}")
    if done.before == done.after:
        say(f"schema: already at {done.after or 'no revision'}")
    else:
        say(f"schema: upgraded from {done.before or 'nothing'} to {done.after}")


async def _look_first(url: str) -> None:
    """Stop at a transaction pooler, since the second part needs a session, and where the salon has moved out."""
    import psycopg

    from app.migration.load.table_authority import Permit, read_authority
    from app.migration.target.target_session import connect_target
    from app.state.tool_schema import OlderSchemaError

    with suppress(psycopg.Error, OlderSchemaError):  # is left to the upgrade
        async with await connect_target(url, step="upgrade") as connection:
            Permit("upgrade", "").refuse_moved_out(await read_authority(connection))


async def _upgrade_tool_schema(url: str) -> Command:
    """Make schema `botdata`, or bring it to this version: the bot's role, which reports itself there, may not.

    Returns:
        What to run next.
    """
    from app.common.schemas import schemas_of
    from app.migration.load.table_authority import read_authority
    from app.migration.target.target_session import explained, open_target
    from app.state.runs.checkpoints import newest_run
    from app.state.tool_schema import ensure_tool_schema, newest_version, version

    async with open_target(url, step="upgrade") as connection:
        with explained("upgrade", pending=f"the tool's own schema {schemas_of(connection).tool}"):
            before = await version(connection)
            await ensure_tool_schema(connection)
            if 0 < before < newest_version():
                say(f"schema {schemas_of(connection).tool}: from version {before} to {newest_version()}")
            if (await read_authority(connection)).managed:
                return Command("cutover status")
            return Command("copy" if await newest_run(connection) is None else "status")


def _upgrade_document(done: Upgrade, following: Command = _COPY) -> Document:
    return document(
        "upgrade",
        ok=True,
        before=done.before,
        after=done.after,
        notices=[{"warning": notice.warning, "text": notice.text} for notice in done.notices],
        next=str(following),
    )
