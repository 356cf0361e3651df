"""The commands pause and resume, for what is at work on the target, or will be."""

from typing import Annotated

import typer

from app.cli.options import AsJson
from app.cli.render import complain, document, show
from app.cli.running import load_settings, run_async
from app.privacy import mask_free_text


def pause(
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for whoever sees it.", metavar="TEXT")] = None,
    wait: Annotated[
        float, typer.Option("--wait", help="Seconds to wait until it has taken hold.", min=0, metavar="SECONDS")
    ] = 600.0,
    as_json: AsJson = False,
) -> None:
    """Have copy, sync, migrate and verify ask the source for nothing, until resume. What is started then waits, too.

    Exit code 0 when nothing is asked of the source any more.

    Example: botdata pause --reason lunchtime
    """
    from app.migration.runs.pausing import pause as ask

    settings = load_settings()
    masked = mask_free_text(reason, settings.secrets()) if reason else None
    asked = run_async(ask(settings.require_database_url(), masked, wait, complain))
    paces = [one.document for one in asked.paces]
    found = document(
        "pause",
        ok=asked.has_taken_hold,
        paused=asked.pause.document,
        new=asked.is_new,
        paces=paces,
        next="botdata resume" if asked.has_taken_hold else "botdata status",
    )
    words = [f"{'paused' if asked.is_new else 'it was paused before:'} {asked.pause}"]
    for one in asked.paces:
        said = "waits" if one.is_held else f"has not come to the end of what it has begun within {wait:g} s"
        words.append(f"{one.command}: {said}")
    if not paces:
        words.append("nothing is running; a copy, sync, migrate or verify that is started now waits")
    later = "" if asked.has_taken_hold else ", which says when it has taken hold; the pause stays asked for"
    show(found, [*words, f"Next: {found['next']}{later}"], as_json, beside=True)


def resume(as_json: AsJson = False) -> None:
    """End a pause: what waits goes on within two seconds.

    Example: botdata resume
    """
    from app.migration.runs.pausing import resume as end

    ended, paces = run_async(end(load_settings().require_database_url()))
    found = document(
        "resume",
        ok=True,
        was_paused=ended and ended.document,
        paces=[one.document for one in paces],
        next="botdata status",
    )
    words = [f"the pause {ended} has ended" if ended else "nothing was paused"]
    words += [f"{one.command}: goes on" for one in paces] if ended else []
    words += ["nothing is running"] if ended and not paces else []
    show(found, [*words, f"Next: {found['next']}"], as_json, beside=True)
