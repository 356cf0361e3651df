"""The command `botdata cutover accept`: differences that the owner knows, and that no gate counts for a while."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from app.cli.options import AsJson
from app.cli.render import Document, Words, document, show
from app.cli.reports.cutover_words import accepted, accepted_list
from app.cli.running import load_settings, move_and_tell, run_async

_NEXT = "botdata cutover advance --dry-run"


def accept(
    method: Annotated[str | None, typer.Argument(help="A method, as botdata cutover report shows it.")] = None,
    field: Annotated[str | None, typer.Argument(help="A field that differs in its answers.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why it is harmless; it is kept.")] = None,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The last day, in UTC, on which no gate counts it.", metavar="DATE"),
    ] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Have the gates count it again, from now on.")] = False,
    only_list: Annotated[bool, typer.Option("--list", help="Only list what is accepted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take a known difference out of the gate's way, up to a day. It stays in report, status and history.

    Only what was seen so far is accepted: a value of another type in the same field is counted.

    Example: botdata cutover accept get_services price_min --reason "shown without its scale" --until 2026-12-24
    """
    from app.cutover.moves import acceptance

    if only_list:
        settings = load_settings()
    elif method is None or field is None:
        raise typer.BadParameter("a method and a field are needed, or --list", param_hint="METHOD FIELD")
    elif withdraw:
        settings = load_settings()
        move_and_tell(settings, acceptance.withdraw(settings, method, field))
    else:
        if reason is None or not reason.strip():
            raise typer.BadParameter("a reason is needed, which the history keeps", param_hint="--reason")
        if until is None or until.date() < datetime.now(UTC).date():
            raise typer.BadParameter("a day is needed, today or later", param_hint="--until")
        settings = load_settings()
        accepting = acceptance.accept(settings, method, field, reason=reason, until=until.date())
        move_and_tell(settings, accepting)
    listed = run_async(acceptance.accepted_differences(settings))
    found = document("cutover accept", ok=True, accepted=accepted_list(listed), next=_NEXT)
    show(found, _words(found), as_json)


def _words(found: Document) -> Words:
    if not found["accepted"]:
        yield "no difference is accepted"
    yield from accepted(found["accepted"])
    yield f"Next: {_NEXT}"
