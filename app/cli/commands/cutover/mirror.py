"""The commands `botdata mirror ...`: writes to PostgreSQL that Supabase is still to get."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import AsJson, GivenOptions
from app.cli.progress import progress
from app.cli.render import Document, Table, Words, document, show
from app.cli.running import carry_out, load_settings, run_async

if TYPE_CHECKING:
    from app.cutover.replication.to_supabase.drain import DrainProgress, DrainReport
    from app.cutover.replication.to_supabase.outbox_status import OutboxState


_LAST_NUMBER = 2**63 - 1


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


def state_words(state: OutboxState, found: Document) -> Words:
    """The stage, the entries by table, and those in error."""
    yield f"stage: {state.stage}{'' if state.is_managed else ' (not moved by a command yet)'}; {_meaning(state)}"
    if not state.entries:
        yield "outbox: empty"
        return
    yield from _entries(found)
    if state.in_error:
        yield "Next: put right what is said, then: botdata mirror retry"
    elif state.sends:
        yield "Next: nothing, while a bot runs: it sends them; else: botdata mirror drain"


def state_document(state: OutboxState) -> Document:
    """The state for `--json`."""
    return document("mirror status", ok=not state.in_error, **_fields(state))


def drain_words(done: DrainReport, found: Document) -> Words:
    """What was sent, what is left, and why."""
    sent = done.entries - done.left.entries
    if done.absent:
        yield f"no entry, since it was sent meanwhile or there never was one: {', '.join(map(str, done.absent))}"
    yield f"{max(0, sent):,} entries are done, {done.left.entries:,} are left"
    if done.complete:
        return
    yield ""
    yield from _entries(found)
    yield f"why: {done.reason}"


def drain_document(command: str, done: DrainReport) -> Document:
    """The same for `--json`."""
    entries = {"before": done.entries, "absent": list(done.absent), "reason": done.reason}
    return document(command, ok=done.complete, **entries, **_fields(done.left))


def _meaning(state: OutboxState) -> str:
    if state.is_finished:
        return "the way back was ended, and nothing is sent"
    if state.sends:
        return "writes are sent to Supabase"
    return "writes are recorded, not sent" if state.stage.records else "writes go to Supabase first"


def _entries(found: Document) -> Words:
    counts = {"entries": "entries", "keys": "keys", "in_error": "in error", "to_be_read_back": "to be read back"}
    oldest = [{**one, "oldest": f"{one['oldest_seconds']:,.0f} s"} for one in found["tables"]]
    yield Table.of(oldest, {"table": "table", **counts, "oldest": "oldest"})
    if found["failed"]:
        yield ""
        yield Table(
            ["number", "table", "key", "attempts", "next attempt at", "last error"],
            [
                [
                    str(one["number"]),
                    one["table"],
                    ", ".join(one["key"]),
                    str(one["attempts"]),
                    f"{datetime.fromisoformat(one['next_attempt_at']):%Y-%m-%d %H:%M:%S}",
                    one["error"],
                ]
                for one in found["failed"]
            ],
            numbers={0, 3},
        )
        if found["in_error"] > len(found["failed"]):
            yield f"... and {found['in_error'] - len(found['failed']):,} more in error"


def _fields(state: OutboxState) -> Document:
    return {
        "stage": str(state.stage),
        "managed": state.is_managed,
        "finished": state.is_finished,
        "sends": state.sends,
        "entries": state.entries,
        "in_error": state.in_error,
        "oldest_seconds": round(state.oldest, 3),
        "tables": [
            {
                "table": one.table,
                "entries": one.entries,
                "keys": one.keys,
                "in_error": one.failed,
                "to_be_read_back": one.sent,
                "oldest_seconds": round(one.oldest, 3),
            }
            for one in state.tables
        ],
        "failed": [
            {
                "number": one.number,
                "table": one.table,
                "key": list(one.key),
                "attempts": one.attempts,
                "error": one.error,
                "recorded_at": one.recorded_at.isoformat(),
                "next_attempt_at": one.next_attempt_at.isoformat(),
            }
            for one in state.failed
        ],
    }
