"""The commands on what the tool remembers in the target, and on what is at work: status, pause, resume, uninstall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.commands.stream.command import stream_lines
from app.cli.options import AsJson, Yes, require_yes
from app.cli.render import Document, Table, Words, complain, document, first, rounded, say, show
from app.cli.running import load_settings, run_async
from app.privacy import mask_free_text

if TYPE_CHECKING:
    from app.migration.runs.status import Status


def status(
    run: Annotated[int | None, typer.Option("--run", help="The run whose tables are listed; else the newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the runs, and how far the tables of the newest are. Reads only, also while a run is at work.

    Example: botdata status --run 3
    """
    from app.migration.runs.status import read_status
    from app.stores.postgres.database_url import schemas_of_url

    url = load_settings().require_database_url()
    state = run_async(read_status(url, run))
    found = runs_document(state)
    show(found, _words(state, found, schemas_of_url(url).tool), as_json)


def _words(state: Status, found: Document, tool: str) -> Words:
    yield f"at work now: {found['holder']}" if found["holder"] else "no run is at work"
    yield from pace_lines(found["paused"], found["paces"])
    if not found["installed"]:
        yield f"the target has no schema {tool}: no run has begun there"
    else:
        yield Table(
            ["run", "command", "source", "state", "begun", "finished"],
            [
                [str(one["run"]), one["command"], one["source"], one["state"], one["begun_at"], one["finished_at"]]
                for one in found["runs"]
            ],
            numbers={0},
        )
    if found["run"] is not None:
        yield ""
        yield f"the tables of run {found['run']}:"
        yield Table(
            ["table", "state", "rows", "of", "left", "refused", "rows/s"],
            [
                [
                    *(one[name] for name in ("table", "state", "rows", "source_rows", "left", "refused")),
                    None if table.rows_per_second is None else f"{table.rows_per_second:,.0f}",
                ]
                for one, table in zip(found["tables"], state.tables, strict=True)
            ],
            numbers=range(2, 7),
        )
    for key in found["foreign_keys"]:
        yield from _foreign_key(key)
    if found["in_quarantine"]:
        yield f"{found['in_quarantine']:,} rows in quarantine: botdata quarantine list"
    for stream in found["streams"]:
        yield from stream_lines(stream)
    yield from _inventory(found["inventory_open"], found["inventory_taken_at"])
    error = found["notifications_error"]
    if found["notifications_given_up"] or (found["notifications_waiting"] and error):
        counts = f"{found['notifications_waiting']:,} wait, {found['notifications_given_up']:,} given up"
        yield f"notifications: {counts}{f' (last error: {error})' if error else ''}: botdata notify"
    yield f"Next: {found['next']}"


def _foreign_key(key: Document) -> Words:
    named = f"foreign key {key['name']} of {key['table']}"
    if key["state"] == "dropped":
        yield f"{named}: dropped; the run puts it back before it is complete"
    elif key["state"] == "unproved":
        yield f"{named}: unproved; the run proves it before it is complete"
    else:
        yield f"{named}: not valid; rows that lack theirs of {key['references']} are, if any:"
        yield f"  {key['query']}"
    yield f"  by hand, once all rows have theirs: {key['statement']}"


def _inventory(still_open: list[str], taken_at: str | None) -> Words:
    if still_open:
        verb = "item of the inventory of {} is" if len(still_open) == 1 else "items of the inventory of {} are"
        yield f"{len(still_open):,} {verb.format(taken_at)} open: botdata inventory"
        yield from first([f"  {item}" for item in still_open], "  ... and {:,} more")


def runs_document(status: Status) -> Document:
    """All of it for `--json`."""
    return document(
        "status",
        ok=True,
        installed=status.installed,
        holder=status.holder,
        paused=status.pause and status.pause.document,
        paces=[one.document for one in status.paces],
        runs=[
            {
                "run": run.number,
                "command": run.command,
                "source": run.source,
                "state": run.state,
                "begun_at": run.begun_at,
                "finished_at": run.finished_at,
            }
            for run in status.runs
        ],
        run=status.shown.number if status.shown else None,
        tables=[
            {
                "table": table.table,
                "state": table.state,
                "rows": table.rows,
                "source_rows": table.source_rows,
                "left": table.left,
                "refused": table.refused,
                "rows_per_second": rounded(table.rows_per_second, 1),
            }
            for table in status.tables
        ],
        foreign_keys=[
            {
                "table": key.of_table,
                "name": key.name,
                "state": key.state,
                "references": key.parent,
                "query": key.orphans,
                "statement": key.statement,
            }
            for key in status.foreign_keys
        ],
        in_quarantine=status.in_quarantine,
        streams=[stream.document for stream in status.streams],
        inventory_taken_at=status.inventory.taken_at if status.inventory else None,
        inventory_open=list(status.inventory.open_items) if status.inventory else [],
        notifications_waiting=status.undelivered.waiting,
        notifications_given_up=status.undelivered.given_up,
        notifications_error=status.undelivered.last_error,
        next=str(status.next_step),
    )


def uninstall(
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Drop the tool's own schema `botdata` from the target. Runs, checkpoints and quarantine go, your tables stay.

    Example: botdata uninstall --yes
    """
    from app.cutover.moves.uninstalling import refuse_during_cutover, refuse_with_rehearsals
    from app.migration.stream.status import known_streams
    from app.migration.target.foreign_keys import put_back
    from app.migration.target.target_session import explained, open_target
    from app.state.tool_schema import drop_tool_schema
    from app.stores.postgres.database_url import schemas_of_url, shown_url

    require_yes(yes, as_json)
    target = load_settings().require_database_url()
    tool = schemas_of_url(target).tool
    if not yes:
        say("The next copy will not know the rows that earlier ones put there, and asks for --overwrite.")
        typer.confirm(f"Drop schema {tool}, with the rows in quarantine, from {shown_url(target)}?", abort=True)

    async def work() -> bool:
        async with open_target(target, step="uninstall", exclusive=True) as connection:
            with explained("uninstall", pending="everything; nothing was dropped"):
                await refuse_during_cutover(connection)
                await refuse_with_rehearsals(connection)
                for one in await put_back(connection, step="uninstall"):
                    complain(f"{one.sentence}; once there are none: {one.key.statement}")
                for stream in await known_streams(connection):
                    drop = f"SELECT pg_drop_replication_slot('{stream.name}'); DROP PUBLICATION {stream.name}"
                    end = "target" if stream.reverse else "source"
                    complain(f"at the {end} a change stream's slot may be left: {drop}")
                return await drop_tool_schema(connection)

    dropped = run_async(work())
    words = [f"schema {tool}: dropped" if dropped else f"schema {tool}: there was none"]
    show(document("uninstall", ok=True, dropped=dropped), words, as_json)


def pause(
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for whoever sees it.", metavar="TEXT")] = None,
    wait: Annotated[
        float, typer.Option("--wait", help="Seconds to wait until it has taken hold.", min=0, metavar="SECONDS")
    ] = 600.0,
    as_json: AsJson = False,
) -> None:
    """Have copy, sync, migrate and verify ask the source for nothing, until resume. What is started then waits, too.

    Exit code 0 when nothing is asked of the source any more.

    Example: botdata pause --reason lunchtime
    """
    from app.migration.runs.pausing import pause as ask

    settings = load_settings()
    masked = mask_free_text(reason, settings.secrets()) if reason else None
    asked = run_async(ask(settings.require_database_url(), masked, wait, complain))
    paces = [one.document for one in asked.paces]
    found = document(
        "pause",
        ok=asked.has_taken_hold,
        paused=asked.pause.document,
        new=asked.is_new,
        paces=paces,
        next="botdata resume" if asked.has_taken_hold else "botdata status",
    )
    words = [f"{'paused' if asked.is_new else 'it was paused before:'} {asked.pause}"]
    for one in asked.paces:
        said = "waits" if one.is_held else f"has not come to the end of what it has begun within {wait:g} s"
        words.append(f"{one.command}: {said}")
    if not paces:
        words.append("nothing is running; a copy, sync, migrate or verify that is started now waits")
    later = "" if asked.has_taken_hold else ", which says when it has taken hold; the pause stays asked for"
    show(found, [*words, f"Next: {found['next']}{later}"], as_json, beside=True)


def resume(as_json: AsJson = False) -> None:
    """End a pause: what waits goes on within two seconds.

    Example: botdata resume
    """
    from app.migration.runs.pausing import resume as end

    ended, paces = run_async(end(load_settings().require_database_url()))
    found = document(
        "resume",
        ok=True,
        was_paused=ended and ended.document,
        paces=[one.document for one in paces],
        next="botdata status",
    )
    words = [f"the pause {ended} has ended" if ended else "nothing was paused"]
    words += [f"{one.command}: goes on" for one in paces] if ended else []
    words += ["nothing is running"] if ended and not paces else []
    show(found, [*words, f"Next: {found['next']}"], as_json, beside=True)


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
