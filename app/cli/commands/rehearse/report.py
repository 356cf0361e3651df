"""What `botdata rehearse` says before it starts, and its report in words and as a document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from app.cli.output import document, say, show_table
from app.cli.reports.preflight_report import show_findings
from app.rehearsal.steps import LEFT_OUT

if TYPE_CHECKING:
    from app.cli.commands.rehearse.move import Rehearsal
    from app.rehearsal.database import Leftovers
    from app.rehearsal.disk import Room
    from app.rehearsal.places import Places

_SHOWN = 20


def announce(places: Places, size: int | None, rooms: Sequence[Room], why_no_cutover: str | None) -> None:
    """Say what will be where, and how it goes away."""
    held = f"{size:,} bytes" if size is not None else "of a size that it does not tell"
    say(f"The rows of the source ({held}) are copied: PRODUCTION DATA will lie")
    say(f"  in a database of its own, botdata_rehearsal_..., on {places.shown}")
    for room in rooms[1:]:
        say(f"  for the cutover, in a stand-in source under {room.where}")
    say(
        "Both are removed at the end, also after Ctrl-C. What a killed rehearsal left is removed by the next one, or by"
    )
    say("  botdata rehearse --clean-up")
    say("Nothing is written to the source, and to the target nothing but a record in schema botdata.")
    if why_no_cutover is not None:
        say(f"NOT rehearsed: the cutover there and back ({why_no_cutover})")


def show_rehearsal(done: Rehearsal, next_command: str) -> None:
    """Print the steps with their times, what preflight found, what was refused, and the verdict."""
    rows = [
        [
            step.name,
            step.state,
            "-" if step.seconds is None else f"{step.seconds:.1f}",
            "-" if step.rows is None else f"{step.rows:,}",
            "-" if step.bytes is None else f"{step.bytes:,}",
        ]
        for step in done.steps.done
    ]
    show_table(["step", "", "seconds", "rows", "bytes"], rows, numbers=frozenset({2, 3, 4}))
    for step in done.steps.done:
        if step.said:
            say(f"{step.name}: {step.said}")
    asked = [one for one in done.findings if one.severity != "notice"]
    if asked:
        say("What preflight would ask:")
        show_findings(asked)
    for refusal in done.refused[:_SHOWN]:
        place = f" ({refusal.place})" if refusal.place else ""
        say(f"refused: {refusal.table} {', '.join(refusal.key)}: SQLSTATE {refusal.sqlstate}{place}")
    if len(done.refused) > _SHOWN:
        say(f"... and {len(done.refused) - _SHOWN:,} more")
    missing = not_rehearsed(done)
    verdict = "every step that was taken passed" if done.steps.all_passed else "NOT every step passed"
    say(f"rehearsal: {verdict}{'; NOT rehearsed: ' + ', '.join(missing) if missing else ''}")
    say(
        "nothing of it is left"
        if not done.left
        else "NOT all of it is removed; botdata rehearse --clean-up tries again"
    )
    say(f"Next: {next_command}")


def not_rehearsed(done: Rehearsal) -> list[str]:
    """The steps that were left out."""
    return [step.name for step in done.steps.done if step.state == LEFT_OUT]


def rehearsal_document(done: Rehearsal, places: Places, size: int | None, next_command: str) -> dict[str, Any]:
    """All of it for `--json`."""
    return document(
        "rehearse",
        ok=done.ok,
        server=places.shown,
        source_bytes=size,
        steps=[
            {
                "step": step.name,
                "state": step.state,
                "seconds": None if step.seconds is None else round(step.seconds, 3),
                "rows": step.rows,
                "bytes": step.bytes,
                "said": step.said,
            }
            for step in done.steps.done
        ],
        findings=[
            {"code": one.code, "severity": one.severity, "message": one.message, "remedy": one.remedy}
            for one in done.findings
        ],
        refused=[
            {"table": one.table, "key": list(one.key), "sqlstate": one.sqlstate, "place": one.place}
            for one in done.refused
        ],
        not_rehearsed=not_rehearsed(done),
        triggers_disabled=done.triggers,
        left=list(done.left),
        next=next_command,
    )


def show_leftovers(found: Leftovers) -> None:
    """Say what was removed of killed rehearsals, and what was not."""
    for name in found.removed:
        say(f"removed what a killed rehearsal left: {name}")
    for one in found.left:
        say(f"LEFT: {one}")


def leftovers_document(found: Leftovers) -> dict[str, Any]:
    """The same for `--json`."""
    return document(
        "rehearse", ok=not found.left, removed=list(found.removed), left=list(found.left), next="botdata rehearse"
    )
