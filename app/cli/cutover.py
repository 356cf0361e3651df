"""The commands `botdata cutover ...`: where the cutover stands, and its moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.work import AsJson, carry_out

if TYPE_CHECKING:
    from app.migration.cutover.moves import Outcome

Force = Annotated[
    str | None,
    typer.Option("--force", help="Move although something stands against it; the reason is kept.", metavar="REASON"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what stands against it.")]


def register(cli: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Move the bot from Supabase to PostgreSQL by stages, and back.", no_args_is_help=True)
    group.command("advance")(advance)
    group.command("back")(back)
    cli.add_typer(group, name="cutover")


def advance(force: Force = None, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """One stage on, when nothing stands against it: off, dualwrite, shadow, live, rampdown, complete.

    Example: botdata cutover advance --dry-run
    """
    from app.migration.cutover.moves import advance as move
    from app.settings import load_settings

    settings = load_settings()
    _tell(carry_out(lambda: move(settings, force=force, dry_run=dry_run), "cutover advance"), as_json)


def back(force: Force = None, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """One stage back, at any time, down to off. Without --force nothing is lost.

    Example: botdata cutover back
    """
    from app.migration.cutover.moves import back as move
    from app.settings import load_settings

    settings = load_settings()
    _tell(carry_out(lambda: move(settings, force=force, dry_run=dry_run), "cutover back"), as_json)


def _tell(outcome: Outcome, as_json: bool) -> None:
    from app.cli.cutover_moves import outcome_document, show_outcome
    from app.cli.output import show_json

    if as_json:
        show_json(outcome_document(outcome))
    else:
        show_outcome(outcome)
    if not outcome.ok:
        raise typer.Exit(1)
