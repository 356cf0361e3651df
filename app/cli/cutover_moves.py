"""What `botdata cutover advance` and `back` say of a move, in words and as a document."""

from __future__ import annotations

from typing import Any

from app.cli.output import document, say
from app.migration.cutover.moves import Outcome


def show_outcome(outcome: Outcome) -> None:
    """Print what stands against the move, what came of it, and what to run next."""
    command = f"botdata cutover {outcome.kind}"
    for objection in outcome.objections:
        say(f"against {outcome.to}: {objection.what}")
        say(f"  remedy: {objection.remedy}")
    for late in outcome.late:
        say(f"late: {late.what}")
        say(f"  remedy: {late.remedy}")
    if outcome.to is None:
        say(
            f"the cutover is at {outcome.before}, which is the {'last' if outcome.kind == 'advance' else 'first'} stage"
        )
    elif outcome.moved:
        say(f"the stage is {outcome.to}, and was {outcome.before}")
        for process in outcome.behind:
            say(f"process {process.name} does not report {outcome.to}: {process.stage}, {process.age:.0f} s ago")
    elif outcome.late:
        say(f"NOT moved: the time to hold writes ran out, and {outcome.before} has resumed; no write was lost")
    elif outcome.dry_run:
        say(f"dry run: {'nothing stands' if outcome.ok else 'the above stands'} against {outcome.to}")
    else:
        say(f"NOT moved: the cutover stays at {outcome.before}")
    say(f"Next: {next_command(outcome, command)}")


def next_command(outcome: Outcome, command: str) -> str:
    """What to run after it."""
    if outcome.to is None or outcome.moved:
        return "botdata cutover status"
    return command


def outcome_document(outcome: Outcome) -> dict[str, Any]:
    """The whole outcome for `--json`."""
    return document(
        f"cutover {outcome.kind}",
        ok=outcome.ok,
        before=outcome.before,
        to=outcome.to,
        moved=outcome.moved,
        dry_run=outcome.dry_run,
        forced=outcome.forced,
        objections=[{"what": one.what, "remedy": one.remedy} for one in outcome.objections],
        late=[{"what": one.what, "remedy": one.remedy} for one in outcome.late],
        behind=[
            {"process": one.name, "stage": one.stage, "chosen_by": one.chosen_by, "age": round(one.age, 1)}
            for one in outcome.behind
        ],
        next=next_command(outcome, f"botdata cutover {outcome.kind}"),
    )
