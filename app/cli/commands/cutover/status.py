"""The commands `botdata cutover status` and `botdata cutover history`: they read, and change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import AsJson
from app.cli.render import show
from app.cli.reports.cutover_status import history_document, history_words, status_document, status_words
from app.cli.running import load_settings, run_async

if TYPE_CHECKING:
    from app.state.cutover.moves import PastMove


def register(group: typer.Typer) -> None:
    """Add the commands."""
    for command in (status, history):
        group.command()(command)


def status(as_json: AsJson = False) -> None:
    """Where the cutover stands, and what to run next. What is not well, and what the next stage's gate objects to.

    Exit code 0 only while nothing is wrong with the stage that it is at; what the next gate asks for does not count.

    Example: botdata cutover status
    """
    from app.cutover.moves.status import look

    cutover = run_async(look(load_settings()))
    found = status_document(cutover)
    show(found, status_words(cutover, found), as_json)


def history(
    limit: Annotated[int, typer.Option(help="The newest so many.", min=1)] = 50, as_json: AsJson = False
) -> None:
    """What the commands did. Moves, also those that were given up, who did them, and why they were forced.

    Example: botdata cutover history --limit 10
    """
    from app.cutover.moves.stage_row import open_cutover
    from app.state.cutover.moves import read_moves

    url = load_settings().require_database_url()

    async def read() -> tuple[PastMove, ...]:
        async with open_cutover(url, "cutover history", pending="nothing is changed by it") as connection:
            return await read_moves(connection, limit)

    moves = run_async(read())
    show(history_document(moves), history_words(moves), as_json)
