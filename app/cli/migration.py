"""The commands of the move: upgrade, copy, verify, migrate, uninstall."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from sqlalchemy import Table

    from app.migration.report import CopyReport, VerifyReport
    from app.migration.source import Source
    from app.settings import Settings

_Answer = TypeVar("_Answer")
Tables = Annotated[str | None, typer.Option("--tables", help="Only these tables, separated by commas.")]
WithBaileys = Annotated[bool, typer.Option("--with-baileys", help="The WhatsApp session tables too.")]
KeyRoleOk = Annotated[bool, typer.Option("--key-role-ok", help="The key's own role is known to see every row.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace rows of the target that no copy put there.")]
ShowValues = Annotated[bool, typer.Option("--show-values", help="Print the values that differ, and keys unmasked.")]


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    for command in (migrate, upgrade, copy, verify, uninstall):
        cli.command()(command)


def migrate(
    tables: Tables = None,
    with_baileys: WithBaileys = False,
    overwrite: Overwrite = False,
    key_role_ok: KeyRoleOk = False,
    show_values: ShowValues = False,
) -> None:
    """The whole move: upgrade the target's schema, copy every row, verify every row.

    Example: botdata migrate --with-baileys
    """
    upgrade()
    copy(tables=tables, with_baileys=with_baileys, overwrite=overwrite, key_role_ok=key_role_ok)
    verify(tables=tables, with_baileys=with_baileys, key_role_ok=key_role_ok, show_values=show_values)


def upgrade(revision: Annotated[str, typer.Argument(help="The revision to reach.")] = "head") -> None:
    """Upgrade the target's schema, in one transaction.

    Example: botdata upgrade
    """
    from app import revisions
    from app.cli.output import say
    from app.settings import load_settings

    done = revisions.upgrade(load_settings().require_database_url(), revision)
    for notice in done.notices:
        say(f"{'warning: ' if notice.warning else ''}{notice.text}")
    if done.before == done.after:
        say(f"schema: already at {done.after or 'no revision'}")
    else:
        say(f"schema: upgraded from {done.before or 'nothing'} to {done.after}")


def copy(
    tables: Tables = None,
    with_baileys: WithBaileys = False,
    overwrite: Overwrite = False,
    key_role_ok: KeyRoleOk = False,
    max_quarantine: Annotated[int, typer.Option(help="Refused rows past which the copy stops.", min=0)] = 1000,
) -> None:
    """Copy every row from Supabase; a copy that was stopped goes on where it was.

    Example: botdata copy --tables clients,bookings
    """
    from app.cli.output import progress
    from app.cli.reports import show_copy
    from app.migration.copy import CopyOptions
    from app.migration.copy import copy as copy_tables

    settings, chosen = _prepare(tables, with_baileys)
    options = CopyOptions(
        overwrite=overwrite, target_in_use=settings.flags.use_repository_pattern, most_refused=max_quarantine
    )
    target = settings.require_database_url()
    with progress("copy") as bars:

        async def work(source: Source) -> CopyReport:
            return await copy_tables(source, target, chosen, bars, options)

        report = _with_source(settings, work, step="copy", role_ok=key_role_ok, notice=bars.notice)
    show_copy(report)
    if not report.complete:
        raise typer.Exit(1)


def verify(
    tables: Tables = None,
    with_baileys: WithBaileys = False,
    key_role_ok: KeyRoleOk = False,
    show_values: ShowValues = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document with all differences and values.")] = False,
) -> None:
    """Compare every row of every table, as text, to the digit. Exit code 0 only when there is no difference.

    Example: botdata verify --show-values
    """
    from app.cli.output import progress, show_json
    from app.cli.reports import show_verify, verify_document
    from app.migration.verify import verify as verify_tables

    settings, chosen = _prepare(tables, with_baileys)
    target = settings.require_database_url()
    with progress("verify") as bars:

        async def work(source: Source) -> VerifyReport:
            return await verify_tables(source, target, chosen, bars)

        report = _with_source(settings, work, step="verify", role_ok=key_role_ok, notice=bars.notice)
    if as_json:
        show_json(verify_document(report))
    else:
        show_verify(report, show_values=show_values)
    if not report.clean:
        raise typer.Exit(1)


def uninstall(
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
) -> None:
    """Drop the tool's own schema `botdata` from the target: runs, checkpoints, quarantine. Your tables stay.

    Example: botdata uninstall --yes
    """
    from app.cli.output import say
    from app.database_url import shown_url
    from app.migration.target import explained, open_target
    from app.migration.tool_schema import drop_tool_schema
    from app.settings import load_settings

    target = load_settings().require_database_url()
    if not yes:
        typer.confirm(f"Drop schema botdata, with the rows in quarantine, from {shown_url(target)}?", abort=True)

    async def work() -> bool:
        async with open_target(target, step="uninstall", exclusive=True) as connection:
            with explained("uninstall"):
                return await drop_tool_schema(connection)

    say("schema botdata: dropped" if asyncio.run(work()) else "schema botdata: there was none")


def _prepare(tables: str | None, with_baileys: bool) -> tuple[Settings, list[Table]]:
    from app.migration.tables import select_tables
    from app.models import Base
    from app.settings import load_settings

    settings = load_settings()
    names = [name.strip() for name in tables.split(",") if name.strip()] if tables is not None else None
    groups = ("business", "baileys") if with_baileys else ("business",)
    return settings, select_tables(Base.metadata, names=names, groups=groups)


def _with_source(
    settings: Settings,
    work: Callable[[Source], Awaitable[_Answer]],
    *,
    step: str,
    role_ok: bool,
    notice: Callable[[str], None],
) -> _Answer:
    """Run work on the Supabase source of the settings, and close its connections."""
    import logging

    from app.migration.key_role import require_service_key
    from app.migration.rest_source import RestSource
    from app.rest import SupabaseRest

    logging.getLogger("stamina").setLevel(logging.ERROR)  # retries are told as notices
    url, key = settings.require_supabase()
    require_service_key(key, role_ok=role_ok, step=step)

    async def connected() -> _Answer:
        rest = await SupabaseRest.open(url, key, request_timeout=60.0)
        try:
            return await work(RestSource(rest, url, on_retry=notice))
        finally:
            await rest.close()

    return asyncio.run(connected())
