"""The commands `botdata cutover advance` and `back`: the moves of the stage, and what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import Accept, AsJson, GivenOptions, IgnoreColumn, again
from app.cli.render import Document, Words, document, show
from app.cli.reports.cutover_words import after, ago, counted, reason_list, reasons
from app.cli.running import load_settings, move_and_tell
from app.errors import SettingsError
from app.privacy import mask_free_text

if TYPE_CHECKING:
    from app.cutover.moves.gates.objection import Objection
    from app.cutover.moves.steps import MoveOutcome, Sending
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
    reason = kept_reason(force, settings)
    own = again(force=reason, accept=accept, ignore_column=ignore_column)
    moving = move(settings, thresholds=thresholds, force=reason, dry_run=dry_run)
    _tell(move_and_tell(settings, moving, GivenOptions("cutover advance", own=tuple(own))), as_json)


def back(force: Force = None, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """One stage back, at any time, down to off. Without --force no write is lost on the way.

    Example: botdata cutover back
    """
    from app.cutover.moves.steps import back as move

    settings = load_settings()
    reason = kept_reason(force, settings)
    moving = move(settings, send=send_recorded(settings), force=reason, dry_run=dry_run)
    _tell(move_and_tell(settings, moving, GivenOptions("cutover back", own=tuple(again(force=reason)))), as_json)


def kept_reason(force: str | None, settings: Settings) -> str | None:
    """The reason as the history keeps it: phone numbers and secrets are masked."""
    if force is None:
        return None
    if not force.strip():
        raise typer.BadParameter("it takes the reason, which the history keeps", param_hint="--force")
    return mask_free_text(force, settings.secrets())


def _tell(outcome: MoveOutcome, as_json: bool) -> None:
    found = outcome_document(outcome)
    show(found, outcome_words(outcome, found), as_json)


def send_recorded(settings: Settings) -> Sending:
    """What `back` does first at `complete`: send to Supabase what was recorded."""

    async def send() -> Objection | None:
        from app.cutover.moves.gates.objection import Objection
        from app.cutover.replication.to_supabase.drain import drain

        try:
            report = await drain(settings, step="cutover back", sends_recorded=True)
        except SettingsError as error:
            return Objection(f"what was recorded could not be sent to Supabase: {error}", "put that right")
        if report.complete:
            return None
        left = f"{report.left.entries:,} of {report.entries:,} recorded writes are not in Supabase"
        return Objection(f"{left}: {report.reason}", "botdata mirror status, which shows them; put that right")

    return send


def outcome_words(outcome: MoveOutcome, found: Document) -> Words:
    """What stands against the move, what came of it, and what to run next."""
    yield from reasons(found["objections"], "passed over" if outcome.moved or outcome.late else "against it")
    yield from reasons(found["warnings"], "warning")
    yield from reasons(found["late"], "late")
    yield verdict(outcome)
    for process in outcome.behind:
        yield (
            f"process {process.name} does not report it: it is at {process.stage} by {process.chosen_by}, and last "
            f"reported {ago(process.age)} ago"
        )
    yield f"Next: {found['next']}"


def verdict(outcome: MoveOutcome) -> str:
    """What came of it, in one sentence."""
    before, to = outcome.before, outcome.to
    if to is None:
        end = "last" if outcome.kind == "advance" else "first"
        return f"NOT moved: the cutover is at {before}, which is the {end} stage"
    if outcome.late:
        return f"NOT moved: not all was still within the hold of writes (CUTOVER_HOLD), and {before} has resumed"
    if outcome.moved:
        moved = f"the stage is {to} now, and was {before}"
        if before.authority is not to.authority:
            moved += f"; {to.authority.label} is the authority"
        return moved if outcome.behind else f"{moved}; no process is behind"
    if outcome.dry_run:
        return f"dry run: {counted(outcome.objections)} against the step from {before} to {to}; nothing was changed"
    return f"NOT moved: {counted(outcome.objections)} against the step from {before} to {to}; the stage stays"


def next_command(outcome: MoveOutcome) -> str:
    """What to run after it."""
    command = f"botdata cutover {outcome.kind}"
    if outcome.to is None:
        return "botdata cutover status"
    if outcome.behind:
        process = outcome.behind[0]
        if process.silent:
            return f"bring {process.name} back, or stop it; if it has ended: botdata cutover forget {process.name}"
        if not process.follows:
            return f"restart {process.name} with CUTOVER_STAGE=database"
        return f"botdata cutover status; restart {process.name} if it does not follow"
    if outcome.moved:
        return "botdata cutover status"
    if outcome.late:
        return after(outcome.late, command)
    if outcome.objections:
        forced = " --force REASON, which loses them" if any(o.loses_outbox for o in outcome.objections) else ""
        return after(outcome.objections, command) + (f"; or: {command}{forced}" if forced else "")
    return command  # of a dry run


def outcome_document(outcome: MoveOutcome) -> Document:
    """The whole outcome for `--json`."""
    return document(
        f"cutover {outcome.kind}",
        ok=outcome.ok,
        before=outcome.before,
        to=outcome.to,
        moved=outcome.moved,
        dry_run=outcome.dry_run,
        forced=outcome.forced,
        objections=reason_list(outcome.objections),
        warnings=reason_list(outcome.warnings),
        late=reason_list(outcome.late),
        behind=[
            {"process": one.name, "stage": one.stage, "chosen_by": one.chosen_by, "age": round(one.age, 1)}
            for one in outcome.behind
        ],
        next=next_command(outcome),
    )
