"""A pause, and the pace of the commands at work, in lines."""

from collections.abc import Sequence
from typing import Any


def pace_lines(paused: dict[str, Any] | None, paces: Sequence[dict[str, Any]]) -> list[str]:
    """Their documents (see app.state.pace) in words; nothing where nothing is paused, limited or slow."""
    lines = []
    if paused is not None:
        why = f": {paused['reason']}" if paused["reason"] else ""
        lines.append(f"paused by {paused['by']} since {paused['since']}{why}; to go on: botdata resume")
    for one in paces:
        parts = []
        if one["max_rate"] is not None:
            parts.append(f"reads {one['max_rate']} at most")
        if one["slowdown"] > 1:
            parts.append(f"asks less often, since the source takes {one['slowdown']} times as long as at first")
        if paused is not None:
            parts.append("waits for the end of the pause" if one["held"] else "comes to the end of what it has begun")
        if parts:
            lines.append(f"{one['command']}: {'; '.join(parts)}")
    return lines
