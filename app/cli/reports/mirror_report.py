"""What `botdata mirror ...` says: in words and tables, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.cli.output import document, say, show_table

if TYPE_CHECKING:
    from app.cutover.replication.to_supabase.drain import DrainReport
    from app.cutover.replication.to_supabase.outbox_status import OutboxState


def show_state(state: OutboxState) -> None:
    """Print the stage, the entries by table, and those in error."""
    say(f"stage: {state.stage}{'' if state.is_managed else ' (not moved by a command yet)'}; {_meaning(state)}")
    if not state.entries:
        say("outbox: empty")
        return
    _show_entries(state)
    if state.in_error:
        say("Next: put right what is said, then: botdata mirror retry")
    elif state.sends:
        say("Next: nothing, while a bot runs: it sends them; else: botdata mirror drain")


def state_document(state: OutboxState) -> dict[str, Any]:
    """The state for `--json`."""
    return document("mirror status", ok=not state.in_error, **_fields(state))


def show_drain(done: DrainReport) -> None:
    """Print what was sent, what is left, and why."""
    sent = done.entries - done.left.entries
    say(f"{max(0, sent):,} entries are done, {done.left.entries:,} are left")
    if done.complete:
        return
    say()
    _show_entries(done.left)
    say(f"why: {done.reason}")


def drain_document(command: str, done: DrainReport) -> dict[str, Any]:
    """The same for `--json`."""
    entries = {"before": done.entries, "reason": done.reason}
    return document(command, ok=done.complete, **entries, **_fields(done.left))


def _meaning(state: OutboxState) -> str:
    if state.is_finished:
        return "the way back was ended, and nothing is sent"
    if state.sends:
        return "writes are sent to Supabase"
    return "writes are recorded, not sent" if state.stage.records else "writes go to Supabase first"


def _show_entries(state: OutboxState) -> None:
    show_table(
        ["table", "entries", "keys", "in error", "to be read back", "oldest"],
        [
            [
                one.table,
                f"{one.entries:,}",
                f"{one.keys:,}",
                f"{one.failed:,}",
                f"{one.sent:,}",
                f"{one.oldest:,.0f} s",
            ]
            for one in state.tables
        ],
        numbers=frozenset(range(1, 6)),
    )
    if state.failed:
        say()
        show_table(
            ["number", "table", "key", "attempts", "next attempt at", "last error"],
            [
                [
                    str(one.number),
                    one.table,
                    ", ".join(one.key),
                    str(one.attempts),
                    f"{one.next_attempt_at:%Y-%m-%d %H:%M:%S}",
                    one.error,
                ]
                for one in state.failed
            ],
            numbers=frozenset({0, 3}),
        )
        if state.in_error > len(state.failed):
            say(f"... and {state.in_error - len(state.failed):,} more in error")


def _fields(state: OutboxState) -> dict[str, Any]:
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
