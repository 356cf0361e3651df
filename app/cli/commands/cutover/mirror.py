"""The commands `botdata mirror ...`: writes to PostgreSQL that Supabase is still to get."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import AsJson, GivenOptions
from app.cli.render import progress, show
from app.cli.reports.mirror_report import drain_document, drain_words, state_document, state_words
from app.cli.running import carry_out, load_settings, run_async

if TYPE_CHECKING:
    from app.cutover.replication.to_supabase.drain import DrainProgress, DrainReport

_LAST_NUMBER = 2**63 - 1


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Writes to PostgreSQL that Supabase is still to get.\n\nExample: botdata mirror status",
    )
    group.command()(status)
    group.command()(drain)
    group.command()(retry)
    cli.add_typer(group, name="mirror")


def status(
    limit: Annotated[int, typer.Option(help="Entries in error to list, at most.", min=0)] = 20,
    as_json: AsJson = False,
) -> None:
    """Show what waits in the outbox, and why. Exit code 1 when an entry is in error.

    Example: botdata mirror status
    """
    from app.cutover.replication.to_supabase.drain import outbox_state

    state = run_async(outbox_state(load_settings(), "mirror status", limit))
    found = state_document(state)
    show(found, state_words(state, found), as_json)


def drain(as_json: AsJson = False) -> None:
    """Send all that is in the outbox now. Exit code 1 when something is left.

    A row whose earlier send has an unknown outcome is read back when nothing can land any more (OUTCOME_SETTLES_AFTER),
    so this may take that long.

    Example: botdata mirror drain
    """
    from app.cutover.replication.to_supabase.drain import drain as send

    settings = load_settings()
    with _progress() as tell:
        done = run_async(send(settings, on_progress=tell))
    _show("mirror drain", done, as_json)


def retry(
    numbers: Annotated[
        list[int] | None, typer.Argument(help="Numbers of entries; all in error without.", min=1, max=_LAST_NUMBER)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send entries in error again, now. Exit code 1 when one of them, or another, is left.

    Example: botdata mirror retry 17
    """
    from app.cutover.replication.to_supabase.drain import drain as send

    settings = load_settings()
    with _progress() as tell:
        done = carry_out(
            send(settings, step="mirror retry", numbers=numbers, only_failed=True, on_progress=tell),
            GivenOptions("mirror retry", own=tuple(map(str, numbers or []))),
        )
    _show("mirror retry", done, as_json)


@contextmanager
def _progress() -> Iterator[DrainProgress]:
    """Told how many entries of how many are left."""
    with progress("mirror") as bars:
        done: list[int] = []

        def tell(left: int, entries: int) -> None:
            if not done:
                bars.begin("outbox", entries, entries - left)
                done.append(entries - left)
            elif entries - left > done[0]:
                bars.advance("outbox", entries - left - done[0])
                done[0] = entries - left

        yield tell


def _show(command: str, done: DrainReport, as_json: bool) -> None:
    found = drain_document(command, done)
    show(found, drain_words(done, found), as_json)
