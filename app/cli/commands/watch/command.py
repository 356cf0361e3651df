"""The command `botdata watch`: its options, and the page with its moves."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.commands.cutover.moves import (
    Comparisons,
    Differences,
    Hours,
    OutboxAge,
    outcome_document,
    send_recorded,
    verdict,
)
from app.cli.commands.cutover.report import report_document
from app.cli.commands.cutover.status import status_document
from app.cli.commands.preflight import accepted_of
from app.cli.commands.runs import runs_document
from app.cli.options import Accept, AsJson, IgnoreColumn
from app.cli.project import read_project
from app.cli.render import Document, document, moment, rounded, say, show
from app.cli.running import load_settings, run_async
from app.errors import BotdataError, MigrationError, SettingsError
from app.privacy import mask_free_text

if TYPE_CHECKING:
    from app.cutover.moves.gates.thresholds import Thresholds
    from app.cutover.stages import Stage
    from app.settings import Settings
    from app.watch.facts import Facts
    from app.watch.server import Move, Told
    from app.watch.watcher import Watcher


_PORT = 8790
_LIBRARIES = ("starlette", "uvicorn")


def watch(
    port: Annotated[int, typer.Option(help="Of the page, on 127.0.0.1; 0: any free one.", min=0, max=65535)] = _PORT,
    allow_moves: Annotated[
        bool, typer.Option("--allow-moves", help="The page may move the stage: advance and back.")
    ] = False,
    terminal: Annotated[bool, typer.Option("--terminal", help="Show it here, without a page.")] = False,
    comparisons: Comparisons = 1000,
    differences: Differences = 0,
    hours: Hours = 24.0,
    outbox_age: OutboxAge = 60.0,
    ignore_column: IgnoreColumn = None,
    accept: Accept = None,
    as_json: AsJson = False,
) -> None:
    """A live page of copy, sync and cutover. With --terminal the same here; with --json one look. Ctrl-C ends it.

    Example: botdata watch --allow-moves
    """
    from app.cutover.moves.gates.thresholds import Thresholds
    from app.stores.postgres.database_url import sqlalchemy_url
    from app.watch.watcher import Watcher

    if allow_moves and (terminal or as_json):
        raise typer.BadParameter("only the page moves anything", param_hint="--allow-moves")
    if terminal and as_json:
        raise typer.BadParameter("it is either this or a document", param_hint="--terminal")
    thresholds = Thresholds(comparisons, differences, hours, outbox_age, accepted_of(ignore_column, accept))
    settings = load_settings()
    sqlalchemy_url(settings.require_database_url())
    watcher = Watcher(settings, thresholds, with_stages=read_project().metadata is None)
    if as_json:
        show(masker(settings)(watch_document(run_async(watcher.once()))), (), as_json)
    elif terminal:
        from app.cli.commands.watch.terminal import show_on_terminal

        run_async(_until_stopped(watcher, settings, show_on_terminal(watcher, masker(settings))))
    else:
        _serve(watcher, settings, port, mover(settings, thresholds) if allow_moves else None)


def _serve(watcher: Watcher, settings: Settings, port: int, move: Move | None) -> None:
    try:
        from app.watch.server import Server, listen
    except ModuleNotFoundError as error:
        if error.name not in _LIBRARIES:
            raise
        needed = "the page needs Starlette and uvicorn; in the checkout: pip install '.[watch]'"
        raise SettingsError(f"{needed}; without them: botdata watch --terminal") from None
    with listen(port) as listening:
        token = settings.watch_metrics_token
        server = Server(
            watcher,
            listening.getsockname()[1],
            watch_document,
            masked=masker(settings),
            move=move,
            metrics_token=token.get_secret_value() if token else None,
        )
        say(f"watch: {server.guard.address}")
        say("The address opens once, in one browser. Ctrl-C ends it.")
        say("The page can move the stage." if move else "The page moves nothing; with --allow-moves it can.")
        say("/metrics is " + ("open to the bearer of WATCH_METRICS_TOKEN" if token else "off: set WATCH_METRICS_TOKEN"))
        run_async(_until_stopped(watcher, settings, server.serve(listening), server.stop))


async def _until_stopped(
    watcher: Watcher,
    settings: Settings,
    showing: Coroutine[Any, Any, None],
    stop: Callable[[], None] | None = None,
) -> None:
    """Watch, show, and tell of trouble, until SIGINT or SIGTERM ends what shows.

    Args:
        stop: has `showing` end; None: it is cancelled.
    """
    import asyncio
    import signal

    from app.common.background import end_task
    from app.notify.looking import looking

    shown = asyncio.create_task(showing)
    watching = asyncio.create_task(watcher.run())

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop or shown.cancel)
    try:
        async with looking(settings):
            await asyncio.wait({shown, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (shown, watching):
            await end_task(task)
        ended = await asyncio.gather(shown, watching, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


def mover(settings: Settings, thresholds: Thresholds) -> Move:
    """What moves the stage for the page, as the commands do."""
    from app.cutover.moves import steps
    from app.notify.looking import then_tell
    from app.watch.server import Told

    async def move(kind: str, seen: Stage) -> Told:
        try:
            if kind == "advance":
                moving = steps.advance(settings, thresholds=thresholds, seen=seen)
            else:
                moving = steps.back(settings, send=send_recorded(settings), seen=seen)
            outcome = await then_tell(settings, moving)
        except BotdataError as error:
            next_step = error.next_step if isinstance(error, MigrationError) else None
            told = {"moved": False, "said": str(error), "next": str(next_step) if next_step else None}
            return Told(told, conflict=True)
        return Told({**outcome_document(outcome), "said": verdict(outcome)})

    return move


def watch_document(facts: Facts) -> Document:
    """All of it; the parts are the documents of the commands that tell the same."""
    from app.cutover.moves.comparison_report import ComparisonReport
    from app.cutover.stages import Store
    from app.watch.compared import HOURS

    compared = facts.compared
    return document(
        "watch",
        ok=facts.ok,
        seen_at=moment(facts.seen_at),
        trouble=facts.trouble,
        gate_asked_at=moment(facts.gate_asked_at),
        status=runs_document(facts.status) if facts.status else None,
        synced=[{"table": table, "lag": round(seconds, 1)} for table, seconds in sorted(facts.synced.items())],
        syncing=[
            {
                "table": one.table,
                "rows": one.rows,
                "left": one.left,
                "rows_per_second": rounded(one.rows_per_second, 1),
            }
            for one in facts.syncing
        ],
        cutover=status_document(facts.cutover) if facts.cutover else None,
        comparisons=report_document(ComparisonReport(HOURS, compared.methods, [], facts.cutover.accepted))
        if facts.cutover
        else None,
        minutes=[
            {
                "minute": moment(one.minute),
                **{f"{store}_p50": one.p50[store] for store in Store},
                **{f"{store}_p99": one.p99[store] for store in Store},
            }
            for one in compared.latencies
        ],
    )


def masker(settings: Settings) -> Callable[[Any], Any]:
    """Masks phones in every text of a document, and the secrets of these settings in every sentence of it."""
    secrets = settings.secrets()

    def masked(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: masked(below) for name, below in value.items()}
        if isinstance(value, list):
            return [masked(below) for below in value]
        # One word is a name or a stage, which may be the password of a server that is only tried out.
        return mask_free_text(value, secrets if " " in value else ()) if isinstance(value, str) else value

    return masked
