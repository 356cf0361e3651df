"""The commands `botdata stream ...`: what a change stream has made at the source, seen and removed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from app.cli.options import AsJson, SourceUrl
from app.cli.render import Document, Words, complain, document, moment, show
from app.cli.reports.cutover_words import ago
from app.cli.running import load_settings
from app.cli.work import Work

if TYPE_CHECKING:
    from app.migration.stream.status import StreamStatus


def status(source: SourceUrl = None, as_json: AsJson = False) -> None:
    """Show the slot and the publication at the source, and how far the target is. Exit code 1 where a gap is to come.

    Example: botdata stream status --source postgresql://reader@db.example/salon
    """
    from app.migration.stream.status import stream_status

    work = _prepare("stream status", source)
    state = work.carry_out(lambda: stream_status(lambda: work.open_source(complain), work.target))
    found = _document(state, _next(state, work))
    show(found, _words(state, found), as_json)


def drop(source: SourceUrl = None, as_json: AsJson = False) -> None:
    """Remove the slot and the publication from the source, so that it keeps no log for this target.

    Those of the way back are at the target, and go without a source too.

    Example: botdata stream drop --source postgresql://reader@db.example/salon
    """
    from app.migration.stream.removal import drop_stream

    if source is not None or load_settings().migration_source is not None:
        work = _prepare("stream drop", source)
        opening = partial(work.open_source, complain)
    else:
        work, opening = Work.prepare("stream drop", needs_source=False), None
    name, removed = work.carry_out(lambda: drop_stream(opening, work.target))
    words = [f"{name}: removed {', '.join(removed)}" if removed else f"{name}: nothing is there"]
    show(document("stream drop", ok=True, name=name, removed=removed), words, as_json)


def _prepare(command: str, source: str | None) -> Work:
    work = Work.prepare(command, source=source)
    work.require_stream("--source")
    return work


def _next(found: StreamStatus, work: Work) -> str | None:
    if found.lost_back:
        return work.given.command_text("sync", "--reverse --follow --by stream")
    goes_on = found.known is not None and found.is_well
    return None if goes_on else work.given.command_text("sync", "--follow --by stream")


def _words(state: StreamStatus, found: Document) -> Words:
    slot, publication = ("there" if found[what] else "not there" for what in ("slot", "publication"))
    yield f"{state.name}: slot {slot}, publication {publication}"
    if state.lost:
        yield f"the slot gives no changes any more: {state.lost}"
    if state.held_bytes is not None:
        yield f"the source keeps {state.held_bytes:,} bytes of its log for it"
    if state.oldest_transaction:
        yield f"its oldest open transaction: {state.oldest_transaction}"
    if (known := state.known) is not None:
        yield f"applied up to {known.lsn}: {state.behind_bytes:,} bytes of the log to come; {known.changes:,} changes"
        if known.committed_at:
            yield f"the last transaction applied was committed at {known.committed_at:%Y-%m-%d %H:%M:%S} UTC"
        if known.settled_lsn is None:
            yield "a sync by rows' versions is to come first, which the next start makes"
        yield f"tables: {', '.join(found['tables'])}"
    for one in found["back"]:
        yield from stream_lines(one)
        if one["lost"]:
            yield f"  {one['lost']}: a sync by rows' versions is to come first, which the next start makes"
    if state.set_aside:
        yield f"{state.set_aside:,} rows in quarantine: botdata quarantine list"
    if found["next"]:
        yield f"Next: {found['next']}"


def _document(found: StreamStatus, then: str | None) -> Document:
    known = found.known
    return document(
        "stream status",
        ok=found.is_well,
        name=found.name,
        slot=found.slot,
        publication=found.publication,
        lost=found.lost,
        held_bytes=found.held_bytes,
        oldest_transaction=found.oldest_transaction,
        lsn=known.lsn if known else None,
        settled=known is not None and known.settled_lsn is not None,
        behind_bytes=found.behind_bytes,
        changes=known.changes if known else None,
        committed_at=moment(known.committed_at) if known else None,
        applied_at=moment(known.applied_at) if known else None,
        tables=sorted(known.tables) if known else [],
        set_aside=found.set_aside,
        back=[one.document | {"lost": found.lost_back.get(one.name)} for one in found.back],
        next=then,
    )


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
