"""The tree of commands: the groups put together, what they share, and the version."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from app.cli.commands import quarantine
from app.cli.commands.adopt import adopt
from app.cli.commands.copy import copy
from app.cli.commands.cutover import changes, mirror, moves
from app.cli.commands.cutover import report as compared
from app.cli.commands.cutover import status as cutover
from app.cli.commands.demo import demo
from app.cli.commands.fleet import command as fleet
from app.cli.commands.inventory import inventory
from app.cli.commands.migration import migrate, upgrade
from app.cli.commands.notify import notify
from app.cli.commands.parity import parity
from app.cli.commands.preflight import preflight
from app.cli.commands.rehearse.command import rehearse
from app.cli.commands.report.command import report
from app.cli.commands.runs import pause, resume, status, uninstall
from app.cli.commands.schema import salons
from app.cli.commands.schema.replace import replace
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


_GROUPS: dict[str, tuple[str, dict[str, Callable[..., None]]]] = {
    "fleet": (
        "All salons of DATABASE_URL's database, the schemas with revisions or with a NAME_botdata beside them.\n\n"
        "Example: botdata fleet status",
        {"status": fleet.status, "upgrade": fleet.upgrade, "verify": fleet.verify},
    ),
    "schema": (
        "The target's schema as a whole.",
        {"replace": replace, "move-out": salons.move_out, "move-in": salons.move_in, "drop": salons.drop},
    ),
    "stream": (
        "What a change stream has made at the source: see and remove it.\n\nExample: botdata stream status",
        {"status": stream.status, "drop": stream.drop},
    ),
    "quarantine": (
        "Rows that the target refused: see, mend and load them again.\n\nExample: botdata quarantine list",
        {
            "list": quarantine.list_rows,
            "show": quarantine.show,
            "replay": quarantine.replay,
            "export": quarantine.export,
            "import": quarantine.import_file,
        },
    ),
    "cutover": (
        "Move the bot from Supabase to PostgreSQL by stages, and back. The stages are off, dualwrite, shadow, live, "
        "rampdown and complete.",
        {
            "status": cutover.status,
            "history": cutover.history,
            "report": compared.report,
            "accept": compared.accept,
            "advance": moves.advance,
            "back": moves.back,
            "finish": changes.finish,
            "forget": changes.forget,
            "table": changes.table,
        },
    ),
    "mirror": (
        "Writes to PostgreSQL that Supabase is still to get.\n\nExample: botdata mirror status",
        {"status": mirror.status, "drain": mirror.drain, "retry": mirror.retry},
    ),
}


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
for name, (told, commands) in _GROUPS.items():
    group = typer.Typer(help=told, no_args_is_help=True)
    for called, command in commands.items():
        group.command(called)(command)
    cli.add_typer(group, name=name)
