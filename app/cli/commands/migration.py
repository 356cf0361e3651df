"""The commands migrate and upgrade."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.commands.copy import JOBS, Jobs, MaxQuarantine, Overwrite, Restart, copy_flags
from app.cli.commands.preflight import TYPES_UNSEEN, Accept, IgnoreColumn, stop_on_errors
from app.cli.event_loop import run_async
from app.cli.work import AsJson, KeyRoleOk, Metadata, ShowValues, SourceUrl, Tables, WithBaileys, Work

if TYPE_CHECKING:
    from app.schema.revisions import Upgrade
    from app.settings import Settings


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    for command in (migrate, upgrade):
        cli.command()(command)


def migrate(
    tables: Tables = None,
    with_baileys: WithBaileys = False,
    overwrite: Overwrite = False,
    restart: Restart = False,
    key_role_ok: KeyRoleOk = False,
    source: SourceUrl = None,
    metadata: Metadata = None,
    ignore_column: IgnoreColumn = None,
    accept: Accept = None,
    max_quarantine: MaxQuarantine = 1000,
    jobs: Jobs = JOBS,
    show_values: ShowValues = False,
    as_json: AsJson = False,
) -> None:
    """The whole move: upgrade the schema, copy and verify every row.

    Example: botdata migrate --with-baileys
    """
    from dataclasses import replace

    from app.cli.commands.copy import copy_options, run_copy
    from app.cli.commands.verify import run_verify
    from app.cli.output import document, show_json
    from app.cli.reports.copy_report import copy_document, show_copy
    from app.cli.reports.verify_report import show_verify, verify_document
    from app.migration.load.table_authority import refuse_before
    from app.migration.tables.copy_table import name_of

    work = Work.prepare("migrate", tables, with_baileys, key_role_ok, source, metadata)
    work = replace(work, own_flags=copy_flags(ignore_column, accept, overwrite=overwrite, jobs=jobs))
    options = copy_options(work, overwrite=overwrite, restart=restart, max_quarantine=max_quarantine, jobs=jobs)

    async def refuse() -> None:
        await refuse_before(work.target, options.permit, [name_of(table) for table in work.tables])

    work.carry_out(refuse)
    codes = stop_on_errors(work, key_role_ok=key_role_ok, ignore_column=ignore_column, accept=accept, upgrades=True)
    options = replace(options, types_unseen=not codes.isdisjoint(TYPES_UNSEEN))
    upgraded = None
    if metadata is None:  # the revisions are the bot's own
        upgraded = _upgrade(work.settings, "head")
    with _after("the schema's upgrade" if upgraded else None):
        copied = run_copy(work, options)
        show_copy(copied, flags=work.flags, own_flags=work.own_flags)
        if copied.sync_due or any(table.done_before for table in copied.tables):
            copied = run_copy(work, replace(options, restart=False))  # those done before may have changed since
            show_copy(copied, flags=work.flags, own_flags=work.own_flags)
    with _after("the copy"):
        verified = run_verify(work)
    show_verify(verified, flags=work.flags, source_flags=work.source_flags, show_values=show_values and not as_json)
    if as_json:
        found = verify_document(verified, flags=work.flags, source_flags=work.source_flags)
        show_json(
            document(
                "migrate",
                ok=copied.complete and verified.clean,
                upgrade=_upgrade_document(upgraded) if upgraded else None,
                copy=copy_document(copied, flags=work.flags, own_flags=work.own_flags),
                verify=found,
                next=found["next"],
            )
        )
    if not (copied.complete and verified.clean):
        raise typer.Exit(1)


@contextmanager
def _after(done: str | None) -> Iterator[None]:
    """Errors name what the steps before have done."""
    from app.errors import MigrationError

    try:
        yield
    except MigrationError as error:
        error.done = "; ".join(part for part in (done, error.done) if part) or None
        raise


def upgrade(
    revision: Annotated[str, typer.Argument(help="The revision to reach.")] = "head", as_json: AsJson = False
) -> None:
    """Upgrade the target's schema, and then the tool's own. Each in one transaction.

    Example: botdata upgrade
    """
    from app.cli.output import say, show_json
    from app.settings import load_settings
    from app.stores.postgres.session import refuse_transaction_pooler

    settings = load_settings()
    url = settings.require_database_url()
    run_async(refuse_transaction_pooler(url, setting="DATABASE_URL", step="upgrade"))  # the second part needs a session
    done = _upgrade(settings, revision)
    with _after("the schema's upgrade" if done.before != done.after else None):
        run_async(_upgrade_tool_schema(url))
    if as_json:
        show_json(_upgrade_document(done))
    say("Next: botdata copy")


def _upgrade(settings: Settings, revision: str) -> Upgrade:
    from app.cli.output import say
    from app.schema import revisions

    done = revisions.upgrade(settings.require_database_url(), revision)
    for notice in done.notices:
        say(f"{'warning: ' if notice.warning else ''}{notice.text}")
    if done.before == done.after:
        say(f"schema: already at {done.after or 'no revision'}")
    else:
        say(f"schema: upgraded from {done.before or 'nothing'} to {done.after}")
    return done


async def _upgrade_tool_schema(url: str) -> None:
    """Make schema `botdata`, or bring it to this version: the bot's role, which reports itself there, may not."""
    from app.migration.target.target_session import explained, open_target
    from app.state.tool_schema import ensure_tool_schema

    async with open_target(url, step="upgrade") as connection:
        with explained("upgrade", pending="the tool's own schema botdata"):
            await ensure_tool_schema(connection)


def _upgrade_document(done: Upgrade) -> dict[str, Any]:
    from app.cli.output import document

    return document(
        "upgrade",
        ok=True,
        before=done.before,
        after=done.after,
        notices=[{"warning": notice.warning, "text": notice.text} for notice in done.notices],
        next="botdata copy",
    )
