"""The tree of commands: the groups put together, what they share, and the version."""

import sys
from typing import Annotated

import typer

from app.cli.commands import quarantine
from app.cli.commands.adopt import adopt
from app.cli.commands.copy import copy
from app.cli.commands.cutover import mirror
from app.cli.commands.cutover import moves as cutover
from app.cli.commands.demo import demo
from app.cli.commands.fleet import command as fleet
from app.cli.commands.inventory.command import inventory
from app.cli.commands.migration import migrate, upgrade
from app.cli.commands.notify.command import notify
from app.cli.commands.parity import parity
from app.cli.commands.pause.command import pause, resume
from app.cli.commands.preflight import preflight
from app.cli.commands.rehearse.command import rehearse
from app.cli.commands.report.command import report
from app.cli.commands.runs import status, uninstall
from app.cli.commands.schema import command as schema
from app.cli.commands.stream import command as stream
from app.cli.commands.sync import sync
from app.cli.commands.verify import verify
from app.cli.commands.watch.command import watch
from app.cli.project import OF_PUBLIC_ALONE, OF_THE_BOT_ALONE, refuse_other_project, refuse_other_schema

EPILOG = "Exit code 0 only when all is well; 1 when something stopped or differs; 2 for a wrong command line."

cli = typer.Typer(
    name="botdata",
    help="Move a salon bot's data from Supabase to your own PostgreSQL, and prove that it is all there.\n\n"
    "Settings come from the environment or from .env: SUPABASE_URL, SUPABASE_KEY, DATABASE_URL.\n\n"
    "Example: botdata migrate",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help, which is there in half the time
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"botdata {version('botdata-postgres')}\n")
        raise typer.Exit


@cli.callback()
def _main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if {"--help", "-h"}.intersection(sys.argv):
        return
    if context.invoked_subcommand in OF_PUBLIC_ALONE:
        refuse_other_schema(context.invoked_subcommand)
    if context.invoked_subcommand in OF_THE_BOT_ALONE:
        refuse_other_project(context.invoked_subcommand)


for command in (
    adopt, migrate, upgrade, rehearse, preflight, copy, sync, verify, pause, resume, inventory, report,
    status, uninstall, notify, watch, parity, demo,
):  # fmt: skip
    cli.command()(command)
for group in (fleet, schema, stream, quarantine, cutover, mirror):
    group.register(cli)
