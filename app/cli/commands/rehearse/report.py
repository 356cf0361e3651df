"""What `botdata rehearse` says before it starts, and its report in words and as a document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.cli.render import Document, Table, Words, document, first, rounded
from app.cli.reports.leftovers_report import reason
from app.cli.reports.preflight_report import finding_lines
from app.rehearsal.steps import LEFT_OUT

if TYPE_CHECKING:
    from app.cli.commands.rehearse.move import Rehearsal
    from app.rehearsal.database import Leftovers
    from app.rehearsal.disk import Room
    from app.rehearsal.places import Places


def announce(
    places: Places, size: int | None, rooms: Sequence[Room], why_no_cutover: str | None, clean_up: str
) -> Words:
    """What will be where, and how it goes away."""
    held = f"{size:,} bytes" if size is not None else "of a size that it does not tell"
    yield f"The rows of the source ({held}) are copied: PRODUCTION DATA will lie"
    yield f"  in a database of its own, botdata_rehearsal_..., on {places.shown}"
    for room in rooms[1:]:
        yield f"  for the cutover, in a stand-in source under {room.where}"
    yield (
        "Both are removed at the end, also after Ctrl-C. What a killed rehearsal left is removed by the next one, or by"
    )
    yield f"  {clean_up}"
    yield "Nothing is written to the source, and to the target nothing but a record in schema botdata."
    if why_no_cutover is not None:
        yield f"NOT rehearsed: the cutover there and back ({why_no_cutover})"


def rehearsal_words(done: Rehearsal, found: Document, clean_up: str) -> Words:
    """The steps with their times, what preflight found, what was refused, and the verdict."""
    headings = {"step": "step", "state": "", "seconds": "seconds", "rows": "rows", "bytes": "bytes"}
    yield Table.of(found["steps"], headings, texts=2)
    for step in done.steps.done:
        if step.said:
            yield f"{step.name}: {step.said}"
    asked = [one for one in done.findings if one.severity != "notice"]
    if asked:
        yield "What preflight would ask:"
        yield from finding_lines(asked)
    yield from first([f"refused: {one['table']} {', '.join(one['key'])}: {reason(one)}" for one in found["refused"]])
    missing = found["not_rehearsed"]
    verdict = "every step that was taken passed" if done.steps.all_passed else "NOT every step passed"
    yield f"rehearsal: {verdict}{'; NOT rehearsed: ' + ', '.join(missing) if missing else ''}"
    removed = "nothing of it is left"
    yield f"NOT all of it is removed; {clean_up} tries again" if done.left else removed
    yield f"Next: {found['next']}"


def rehearsal_document(done: Rehearsal, places: Places, size: int | None, next_command: str) -> Document:
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
                "seconds": rounded(step.seconds),
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
        not_rehearsed=[step.name for step in done.steps.done if step.state == LEFT_OUT],
        triggers_disabled=done.triggers,
        left=list(done.left),
        next=next_command,
    )


def leftovers_words(found: Leftovers) -> Words:
    """What was removed of killed rehearsals, and what was not."""
    for name in found.removed:
        yield f"removed what a killed rehearsal left: {name}"
    for one in found.left:
        yield f"LEFT: {one}"


def leftovers_document(found: Leftovers) -> Document:
    """The same for `--json`."""
    return document(
        "rehearse", ok=not found.left, removed=list(found.removed), left=list(found.left), next="botdata rehearse"
    )
