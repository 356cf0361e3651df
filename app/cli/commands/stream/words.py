"""A change stream as the target knows it, in words, for `status` and `watch`."""

from __future__ import annotations

from typing import Any

from app.cli.reports.cutover_words import ago


def stream_lines(found: dict[str, Any]) -> list[str]:
    """The lines of one, of its document."""
    waits = "" if found["settled"] else "; a sync by rows' versions is to come first"
    applied = f", last {found['applied_at']}" if found["applied_at"] else ""
    kind, end = ("stream back to the source", "target") if found["reverse"] else ("change stream", "source")
    lines = [f"{kind} {found['name']}: {found['changes']:,} changes, up to {found['lsn']}{applied}{waits}"]
    if found["look_age"] is not None:
        seen = [f"the sync that follows it last looked {ago(found['look_age'])} ago"]
        seen += [] if found["lag"] is None else [f"lag {found['lag']:.1f} s"]
        seen += [] if found["held_bytes"] is None else [f"the {end} keeps {found['held_bytes']:,} bytes of its log"]
        lines.append(f"  {'; '.join(seen)}; {found['behind_bytes']:,} bytes to come")
    return lines
