"""`botdata watch --terminal`: the facts on a terminal, again and again, what needs attention first."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.cli.commands.runs import pace_lines
from app.cli.commands.stream.command import stream_lines
from app.cli.commands.watch.command import watch_document
from app.cli.render import plain
from app.cli.reports.cutover_words import ago, reads_told
from app.cutover.stages import Store
from app.watch.watcher import Watcher

_EVERY = 1.0  # seconds
_FEW = 4  # objections; what is below has to fit on the screen, too
Document = dict[str, Any]


async def show_on_terminal(watcher: Watcher, masked: Callable[[Any], Any], terminal: Console | None = None) -> None:
    """Show the facts until cancelled."""
    console = terminal or Console(highlight=False)
    with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while True:
            live.update(rendered(masked(watch_document(watcher.show()))), refresh=True)
            await asyncio.sleep(_EVERY)


def rendered(found: Document) -> RenderableType:
    """One look, of its document."""
    parts: list[RenderableType] = [*_attention(found)]
    if found["cutover"] is not None:
        parts += _cutover(found["cutover"], found["gate_asked_at"])
    if found["status"] is not None:
        parts += _runs(found["status"])
        syncing = [
            (
                one["table"],
                f"{one['rows']:,}",
                f"{one['left']:,}",
                f"{one['rows_per_second'] or 0:,.0f}",
                _time_left(one),
            )
            for one in found["syncing"]
        ]
        parts.append(_table(("sync at work on", "rows", "left", "rows/s", "time left"), syncing, 1))
        parts.append(_table(("last sync of", "lag"), [(one["table"], ago(one["lag"])) for one in found["synced"]], 1))
    if found["comparisons"] is not None:
        parts += _compared(found["comparisons"]["methods"])
    parts.append(Text("\nCtrl-C ends it.", "dim"))
    return Group(*parts)


def _attention(found: Document) -> Iterable[RenderableType]:
    cutover = found["cutover"]
    yield Text(f"botdata watch, {datetime.now(UTC):%H:%M:%S} UTC", "bold")
    if found["trouble"] is not None:
        yield _line(f"the target cannot be read: {found['trouble']}", "bold red")
        if found["seen_at"]:
            yield _line(f"what is below is of {found['seen_at']}")
    troubles = cutover["troubles"] if cutover else []
    yield from _reasons(troubles, "bold red")
    yield from _reasons(cutover["warnings"] if cutover else [], "yellow")
    if found["ok"]:
        yield _line("nothing is wrong", "green")
    part = cutover if cutover and cutover["objections"] is not None else found["status"]
    if part is not None:
        yield _line(f"Next: {part['next']}")


def _cutover(cutover: Document, asked_at: str | None) -> Iterable[RenderableType]:
    yield _line(f"\nstage: {cutover['stage']}, authority: {Store(cutover['authority']).label}", "bold")
    if cutover["move"] is not None:
        yield _line(f"under way: {cutover['move']['move']}, by {cutover['move']['done_by']}", "bold red")
    to = cutover["next_stage"]
    if to is not None and cutover["objections"] is None:
        yield _line(f"the gate to {to} could not be asked: {cutover['gate_error']}" if asked_at else "asking the gate")
    elif to is not None:
        yield _line(f"against {to}:" if cutover["objections"] else f"nothing stands against {to}")
        yield from _reasons(cutover["objections"][:_FEW])
        if len(cutover["objections"]) > _FEW:
            yield _line(f"... and {len(cutover['objections']) - _FEW} more: botdata cutover advance --dry-run")
    yield _table(
        ("process", "stage", "heartbeat", "in flight", "mirrors", "spooled"),
        [
            (
                one["process"],
                one["stage"],
                f"{ago(one['age'])} ago",
                f"{one['in_flight']:,}",
                f"{one['pending_mirrors']:,}",
                f"{one['spooled']:,}",
            )
            for one in cutover["processes"]
        ],
    )
    yield from map(_line, reads_told(cutover["processes"]))
    waiting = [(kind, one) for kind, field in (("journal", "notes"), ("outbox", "outbox")) for one in cutover[field]]
    yield _table(
        ("waiting in", "table", "rows", "oldest", "failed"),
        [(kind, one["table"], f"{one['count']:,}", ago(one["oldest"]), f"{one['failed']:,}") for kind, one in waiting],
    )


def _runs(status: Document) -> Iterable[RenderableType]:
    yield _line(f"\nat work now: {status['holder']}" if status["holder"] else "\nno run is at work", "bold")
    for line in pace_lines(status["paused"], status["paces"]):
        yield _line(line, "bold yellow")
    for stream in status["streams"]:
        yield from map(_line, stream_lines(stream))
    is_running = any(run["run"] == status["run"] and run["state"] == "running" for run in status["runs"])
    if status["in_quarantine"]:
        yield _line(f"{status['in_quarantine']:,} rows in quarantine: botdata quarantine list", "red")
    yield _table(
        (f"run {status['run']}", "rows", "left", "refused", "rows/s", "time left"),
        [
            (
                one["table"],
                f"{one['rows']:,}",
                f"{one['left']:,}",
                f"{one['refused']:,}",
                f"{one['rows_per_second'] or 0:,.0f}",
                _time_left(one) if is_running else "-",
            )
            for one in status["tables"]
        ],
        texts=1,
    )


def _time_left(table: Document) -> str:
    left, rate = table["left"], table["rows_per_second"]
    return ago(left / rate) if left and rate else "-"


def _compared(methods: Sequence[Document]) -> Iterable[RenderableType]:
    times = ("supabase_p50", "supabase_p99", "postgres_p50", "postgres_p99")
    yield _table(
        ("compared, last hour", "equal", "different", "error", *(time.replace("_", " ") for time in times)),
        [
            (
                one["method"],
                *(f"{one[name]:,}" for name in ("equal", "different", "error")),
                *("-" if one[time] is None else f"{one[time] * 1000:.1f} ms" for time in times),
            )
            for one in methods
        ],
        texts=1,
    )


def _reasons(reasons: Sequence[Document], style: str = "") -> Iterable[RenderableType]:
    for one in reasons:
        yield _line(f"- {one['what']}", style)
        yield _line(f"  remedy: {one['remedy']}")


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 2) -> RenderableType:
    """A table whose first `texts` columns are no numbers; a line where it has no rows."""
    if not rows:
        return Text(f"{headings[0]}: none", "dim")
    table = Table(box=None, pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place >= texts else "left")
    for row in rows:
        table.add_row(*(_line(cell) for cell in row))
    return table


def _line(text: str, style: str = "") -> Text:
    return Text("\n".join(plain(line) for line in text.split("\n")), style)
