"""The commands `botdata stream ...`: what a change stream has made at the source, seen and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from app.cli.work import AsJson, SourceUrl, Work

if TYPE_CHECKING:
    from app.migration.stream.status import StreamStatus


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True,
        help="What a change stream has made at the source: see and remove it.\n\nExample: botdata stream status",
    )
    group.command()(status)
    group.command()(drop)
    cli.add_typer(group, name="stream")


def status(source: SourceUrl = None, as_json: AsJson = False) -> None:
    """Show the slot and the publication at the source, and how far the target is. Exit code 1 where a gap is to come.

    Example: botdata stream status --source postgresql://reader@db.example/salon
    """
    from app.cli.output import complain, show_json
    from app.migration.stream.status import stream_status

    work = _prepare("stream status", source)
    found = work.carry_out(lambda: stream_status(lambda: work.open_source(complain), work.target))
    if as_json:
        show_json(_document(found, _next(found, work)))
    else:
        _show(found, _next(found, work))
    if not found.is_well:
        raise typer.Exit(1)


def drop(source: SourceUrl = None, as_json: AsJson = False) -> None:
    """Remove the slot and the publication from the source, so that it keeps no log for this target.

    Example: botdata stream drop --source postgresql://reader@db.example/salon
    """
    from app.cli.output import complain, document, say, show_json
    from app.migration.stream.status import drop_stream

    work = _prepare("stream drop", source)
    name, removed = work.carry_out(lambda: drop_stream(lambda: work.open_source(complain), work.target))
    if as_json:
        show_json(document("stream drop", ok=True, name=name, removed=removed))
    else:
        say(f"{name}: removed {', '.join(removed)}" if removed else f"{name}: nothing is there")


def _prepare(command: str, source: str | None) -> Work:
    work = Work.prepare(command, source=source)
    if work.source_url is None:
        raise typer.BadParameter("a change stream needs --source postgresql://...", param_hint="--source")
    return work


def _next(found: StreamStatus, work: Work) -> str | None:
    goes_on = found.known is not None and found.is_well
    return None if goes_on else work.given.command_text("sync", "--follow --by stream")


def _show(found: StreamStatus, then: str | None) -> None:
    from app.cli.commands.stream.words import stream_lines
    from app.cli.output import say

    def there(is_there: bool) -> str:
        return "there" if is_there else "not there"

    say(f"{found.name}: slot {there(found.slot)}, publication {there(found.publication)}")
    if found.lost:
        say(f"the slot gives no changes any more: {found.lost}")
    if found.held_bytes is not None:
        say(f"the source keeps {found.held_bytes:,} bytes of its log for it")
    if found.oldest_transaction:
        say(f"its oldest open transaction: {found.oldest_transaction}")
    if found.known is not None:
        known = found.known
        say(f"applied up to {known.lsn}: {found.behind_bytes:,} bytes of the log to come; {known.changes:,} changes")
        if known.committed_at:
            say(f"the last transaction applied was committed at {known.committed_at:%Y-%m-%d %H:%M:%S} UTC")
        if known.settled_lsn is None:
            say("a sync by rows' versions is to come first, which the next start makes")
        say(f"tables: {', '.join(sorted(known.tables))}")
    for line in (line for one in found.back for line in stream_lines(one.document)):
        say(line)
    if found.set_aside:
        say(f"{found.set_aside:,} rows in quarantine: botdata quarantine list")
    if then:
        say(f"Next: {then}")


def _document(found: StreamStatus, then: str | None) -> dict[str, Any]:
    from app.cli.output import document

    known = found.known

    def moment(name: str) -> str | None:
        value = getattr(known, name) if known else None
        return value.strftime("%Y-%m-%dT%H:%M:%SZ") if value else None

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
        committed_at=moment("committed_at"),
        applied_at=moment("applied_at"),
        tables=sorted(known.tables) if known else [],
        set_aside=found.set_aside,
        back=[one.document for one in found.back],
        next=then,
    )
