"""The commands on what the tool itself remembers: uninstall."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from app.cli.work import AsJson


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command()(uninstall)


def uninstall(
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Drop the tool's own schema `botdata` from the target: runs, checkpoints, quarantine. Your tables stay.

    Example: botdata uninstall --yes
    """
    from app.cli.output import document, say, show_json
    from app.database_url import shown_url
    from app.migration.target import explained, open_target
    from app.migration.tool_schema import drop_tool_schema
    from app.settings import load_settings

    if as_json and not yes:
        raise typer.BadParameter("with --json nothing is asked, so --yes is needed too", param_hint="--json")
    target = load_settings().require_database_url()
    if not yes:
        say("The next copy will not know the rows that earlier ones put there, and asks for --overwrite.")
        typer.confirm(f"Drop schema botdata, with the rows in quarantine, from {shown_url(target)}?", abort=True)

    async def work() -> bool:
        async with open_target(target, step="uninstall", exclusive=True) as connection:
            with explained("uninstall", pending="everything; nothing was dropped"):
                return await drop_tool_schema(connection)

    dropped = asyncio.run(work())
    if as_json:
        show_json(document("uninstall", ok=True, dropped=dropped))
    else:
        say("schema botdata: dropped" if dropped else "schema botdata: there was none")
