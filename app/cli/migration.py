"""The commands migrate and upgrade."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.copy import Jobs, Overwrite, Restart
from app.cli.preflight import Accept, IgnoreColumn, stop_on_errors
from app.cli.work import AsJson, KeyRoleOk, Metadata, ShowValues, SourceUrl, Tables, WithBaileys, Work

if TYPE_CHECKING:
    from app.revisions import Upgrade
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
    jobs: Jobs = 2,
    show_values: ShowValues = False,
    as_json: AsJson = False,
) -> None:
    """The whole move: upgrade the target's schema, copy every row, verify every row.

    Example: botdata migrate --with-baileys
    """
    from app.cli.copy import run_copy
    from app.cli.copy_report import copy_document, show_copy
    from app.cli.output import document, show_json
    from app.cli.verify import run_verify
    from app.cli.verify_report import show_verify, verify_document
    from app.migration.copy import CopyOptions, refuse_target_in_use
    from app.migration.copy_streams import StreamOptions

    work = Work.prepare("migrate", tables, with_baileys, key_role_ok, source, metadata)
    in_use = work.settings.flags.use_repository_pattern
    streams = StreamOptions(jobs=jobs)
    options = CopyOptions(overwrite=overwrite, target_in_use=in_use, restart=restart, streams=streams)
    refuse_target_in_use(options)
    stop_on_errors(work, key_role_ok=key_role_ok, ignore_column=ignore_column, accept=accept, upgrades=True)
    upgraded = None
    if metadata is None:  # the revisions are the bot's own
        upgraded = _upgrade(work.settings, "head")
    copied = run_copy(work, options)
    show_copy(copied, flags=work.flags)
    if copied.sync_due or any(table.done_before for table in copied.tables):
        copied = run_copy(work, options)  # tables done before the stop may have changed since
        show_copy(copied, flags=work.flags)
    verified = run_verify(work)
    show_verify(verified, flags=work.flags, show_values=show_values and not as_json)
    if as_json:
        found = verify_document(verified, flags=work.flags)
        show_json(
            document(
                "migrate",
                ok=copied.complete and verified.clean,
                upgrade=_upgrade_document(upgraded) if upgraded else None,
                copy=copy_document(copied, flags=work.flags),
                verify=found,
                next=found["next"],
            )
        )
    if not (copied.complete and verified.clean):
        raise typer.Exit(1)


def upgrade(
    revision: Annotated[str, typer.Argument(help="The revision to reach.")] = "head", as_json: AsJson = False
) -> None:
    """Upgrade the target's schema, in one transaction.

    Example: botdata upgrade
    """
    from app.cli.output import say, show_json
    from app.settings import load_settings

    done = _upgrade(load_settings(), revision)
    if as_json:
        show_json(_upgrade_document(done))
    say("Next: botdata copy")


def _upgrade(settings: Settings, revision: str) -> Upgrade:
    from app import revisions
    from app.cli.output import say

    done = revisions.upgrade(settings.require_database_url(), revision)
    for notice in done.notices:
        say(f"{'warning: ' if notice.warning else ''}{notice.text}")
    if done.before == done.after:
        say(f"schema: already at {done.after or 'no revision'}")
    else:
        say(f"schema: upgraded from {done.before or 'nothing'} to {done.after}")
    return done


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
