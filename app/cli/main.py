"""The command `botdata`: its subcommands, and errors turned into a few lines and an exit code."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from app.cli import demo, migration, parity

_INTERRUPTED = 130  # Typer's exit code after a KeyboardInterrupt
EPILOG = "Exit code 0 only when all is well; 1 when something stopped or differs; 2 for a wrong command line."

cli = typer.Typer(
    name="botdata",
    help="Move a salon bot's data from Supabase to your own PostgreSQL, and prove that it is all there.\n\n"
    "Settings come from the environment or from .env: SUPABASE_URL, SUPABASE_KEY, DATABASE_URL.\n\n"
    "Example: botdata migrate",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"botdata {version('botdata')}\n")
        raise typer.Exit


@cli.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


migration.register(cli)
parity.register(cli)
demo.register(cli)


def run() -> None:
    """Entry point of the console script."""
    from app.errors import BotdataError

    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # both end a command the same way
    try:
        cli()
    except BotdataError as error:
        from app.cli.output import show_error

        show_error(error)
        sys.exit(1)
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            sys.stderr.write("\nStopped. What was done is kept; the same command goes on from there.\n")
        raise


if __name__ == "__main__":
    run()
