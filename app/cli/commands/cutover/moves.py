"""The commands `botdata cutover ...`: the moves of the stage, and what else changes where the cutover stands."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.commands.cutover import accept as cutover_accept
from app.cli.commands.cutover import report as cutover_report
from app.cli.commands.cutover import status as cutover_status
from app.cli.commands.preflight import Accept, IgnoreColumn
from app.cli.options import AsJson, Yes, require_yes
from app.cli.render import say, show
from app.cli.reports.cutover_changes import (
    finish_document,
    finish_words,
    forget_document,
    forget_words,
    table_document,
    table_words,
)
from app.cli.reports.cutover_moves import outcome_document, outcome_words, send_recorded
from app.cli.running import load_settings, move_and_tell, run_async
from app.cutover.stages import Store
from app.privacy import mask_free_text

if TYPE_CHECKING:
    from app.cutover.moves.steps import MoveOutcome
    from app.settings import Settings

Force = Annotated[
    str | None,
    typer.Option("--force", help="Do it although something stands against it; the reason is kept.", metavar="REASON"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what stands against it; nothing is changed.")]
Comparisons = Annotated[int, typer.Option(help="Comparisons of each method in use that are asked for.", min=0)]
Differences = Annotated[int, typer.Option(help="Confirmed differences of a method that are tolerated.", min=0)]
Hours = Annotated[float, typer.Option(help="How far back both are counted.", min=0.0, max=72.0)]
OutboxAge = Annotated[float, typer.Option(help="Seconds that an entry of the outbox may be old.", min=0.0)]


class StoreName(StrEnum):
    """The stores, as the command line names them."""

    POSTGRES = "postgres"
    SUPABASE = "supabase"


def register(cli: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        help="Move the bot from Supabase to PostgreSQL by stages, and back. The stages are off, dualwrite, shadow, "
        "live, rampdown and complete.",
        no_args_is_help=True,
    )
    cutover_status.register(group)
    for command in (cutover_report.report, cutover_accept.accept, advance, back, finish, forget, table):
        group.command()(command)
    cli.add_typer(group, name="cutover")


def advance(
    force: Force = None,
    dry_run: DryRun = False,
    comparisons: Comparisons = 1000,
    differences: Differences = 0,
    hours: Hours = 24.0,
    outbox_age: OutboxAge = 60.0,
    ignore_column: IgnoreColumn = None,
    accept: Accept = None,
    as_json: AsJson = False,
) -> None:
    """One stage on, when nothing stands against it. --force passes over that, never over writes in flight.

    Example: botdata cutover advance --dry-run
    """
    from app.cli.commands.preflight import accepted_of
    from app.cutover.moves.gates.thresholds import Thresholds
    from app.cutover.moves.steps import advance as move

    accepted = accepted_of(ignore_column, accept)
    thresholds = Thresholds(comparisons, differences, hours, outbox_age, accepted)
    settings = load_settings()
    moving = move(settings, thresholds=thresholds, force=_kept(force, settings), dry_run=dry_run)
    _tell(move_and_tell(settings, moving), as_json)


def back(force: Force = None, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """One stage back, at any time, down to off. Without --force no write is lost on the way.

    Example: botdata cutover back
    """
    from app.cutover.moves.steps import back as move

    settings = load_settings()
    moving = move(settings, send=send_recorded(settings), force=_kept(force, settings), dry_run=dry_run)
    _tell(move_and_tell(settings, moving), as_json)


def finish(yes: Yes = False, as_json: AsJson = False) -> None:
    """End the way back, at complete. Supabase is told nothing more, and what was recorded for it is dropped.

    Example: botdata cutover finish --yes
    """
    from app.cutover.moves.finish import finish as end
    from app.cutover.moves.finish import look_at_end

    require_yes(yes, as_json)
    settings = load_settings()
    ending = run_async(look_at_end(settings))
    if ending.finished_at is None:
        if not yes:
            say(f"{ending.recorded:,} recorded entries are dropped: Supabase never gets these writes, nor later ones.")
            if ending.still_supabase:
                say(f"The writers of {', '.join(ending.still_supabase)} still write to Supabase: keep it for them.")
            typer.confirm("End the way back to Supabase for good?", abort=True)
        ending = move_and_tell(settings, end(settings))
    found = finish_document(ending)
    show(found, finish_words(ending, found), as_json)


def forget(
    process: Annotated[str, typer.Argument(help="Its name, as botdata cutover status shows it.")],
    force: Force = None,
    as_json: AsJson = False,
) -> None:
    """Take out a process that ended without saying goodbye. Moves no longer wait for it.

    Example: botdata cutover forget bot-1:4711:a1b2c3
    """
    from app.cutover.moves.forget import forget as take_out

    settings = load_settings()
    forgotten = move_and_tell(settings, take_out(settings, process, force=_kept(force, settings)))
    found = forget_document(forgotten)
    show(found, forget_words(forgotten, found), as_json)


def table(
    name: Annotated[str, typer.Argument(help="A table that no method of the data layer writes.")],
    authority: Annotated[StoreName, typer.Argument(help="The store that its writer writes to from now on.")],
    force: Force = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Say that the writer of a table has moved. Of bookings, staff, messages, actions or company_sync_status.

    Example: botdata cutover table bookings postgres
    """
    from app.cutover.moves.table_authority import move_table

    settings, to = load_settings(), Store(authority.value)
    moving = move_table(settings, name, to, force=_kept(force, settings), dry_run=dry_run)
    moved = move_and_tell(settings, moving)
    found = table_document(moved)
    show(found, table_words(moved, found), as_json)


def _kept(force: str | None, settings: Settings) -> str | None:
    """The reason as the history keeps it: phone numbers and secrets are masked."""
    if force is None:
        return None
    if not force.strip():
        raise typer.BadParameter("it takes the reason, which the history keeps", param_hint="--force")
    return mask_free_text(force, settings.secrets())


def _tell(outcome: MoveOutcome, as_json: bool) -> None:
    found = outcome_document(outcome)
    show(found, outcome_words(outcome, found), as_json)
