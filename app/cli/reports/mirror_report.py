"""What `botdata mirror ...` says: in words and tables, and as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from app.cli.render import Document, Table, Words, document

if TYPE_CHECKING:
    from app.cutover.replication.to_supabase.drain import DrainReport
    from app.cutover.replication.to_supabase.outbox_status import OutboxState


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
