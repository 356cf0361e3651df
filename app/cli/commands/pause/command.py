"""The commands pause and resume, for what is at work on the target, or will be."""

from typing import Annotated

import typer

from app.cli.event_loop import run_async
from app.cli.work import AsJson


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    for command in (pause, resume):
        cli.command()(command)


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
    from app.cli.output import complain, document, say, show_json
    from app.migration.runs.pausing import pause as ask
    from app.privacy import mask_free_text
    from app.settings import load_settings

    settings = load_settings()
    masked = mask_free_text(reason, settings.secrets()) if reason else None
    found = run_async(ask(settings.require_database_url(), masked, wait, complain))
    if as_json:
        show_json(
            document(
                "pause",
                ok=found.has_taken_hold,
                paused=found.pause.document,
                new=found.is_new,
                paces=[one.document for one in found.paces],
                next="botdata resume" if found.has_taken_hold else "botdata status",
            )
        )
    say(f"{'paused' if found.is_new else 'it was paused before:'} {found.pause}")
    for one in found.paces:
        said = "waits" if one.is_held else f"has not come to the end of what it has begun within {wait:g} s"
        say(f"{one.command}: {said}")
    if not found.paces:
        say("nothing is running; a copy, sync, migrate or verify that is started now waits")
    if not found.has_taken_hold:
        say("Next: botdata status, which says when it has taken hold; the pause stays asked for")
        raise typer.Exit(1)
    say("Next: botdata resume")


def resume(as_json: AsJson = False) -> None:
    """End a pause: what waits goes on within two seconds.

    Example: botdata resume
    """
    from app.cli.output import document, say, show_json
    from app.migration.runs.pausing import resume as end
    from app.settings import load_settings

    ended, paces = run_async(end(load_settings().require_database_url()))
    if as_json:
        show_json(
            document(
                "resume",
                ok=True,
                was_paused=ended and ended.document,
                paces=[one.document for one in paces],
                next="botdata status",
            )
        )
    say(f"the pause {ended} has ended" if ended else "nothing was paused")
    for one in paces if ended else ():
        say(f"{one.command}: goes on")
    if ended and not paces:
        say("nothing is running")
    say("Next: botdata status")
