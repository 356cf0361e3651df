"""The commands on what the tool itself remembers in the target: status and uninstall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.event_loop import run_async
from app.cli.work import AsJson

if TYPE_CHECKING:
    from app.migration.runs.status import Status

_SHOWN = 20  # open items of an inventory


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command()(status)
    cli.command()(uninstall)


def status(
    run: Annotated[int | None, typer.Option("--run", help="The run whose tables are listed; else the newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the runs, and how far the tables of the newest are. Reads only, also while a run is at work.

    Example: botdata status --run 3
    """
    from app.cli.output import show_json
    from app.migration.runs.status import read_status
    from app.settings import load_settings
    from app.stores.postgres.database_url import schemas_of_url

    url = load_settings().require_database_url()
    found = run_async(read_status(url, run))
    if as_json:
        show_json(runs_document(found))
    else:
        _show_status(found, schemas_of_url(url).tool)


def _show_status(found: Status, tool: str) -> None:
    from app.cli.commands.pause.words import pace_lines
    from app.cli.commands.stream.words import stream_lines
    from app.cli.output import say, show_table

    say(f"at work now: {found.holder}" if found.holder else "no run is at work")
    paused = found.pause.document if found.pause else None
    for line in pace_lines(paused, [one.document for one in found.paces]):
        say(line)
    if not found.installed:
        say(f"the target has no schema {tool}: no run has begun there")
    else:
        show_table(
            ["run", "command", "source", "state", "begun", "finished"],
            [
                [str(run.number), run.command, run.source, run.state, run.begun_at, run.finished_at or "-"]
                for run in found.runs
            ],
            numbers=frozenset({0}),
        )
    if found.shown:
        say()
        say(f"the tables of run {found.shown.number}:")
        show_table(
            ["table", "state", "rows", "of", "left", "refused", "rows/s"],
            [
                [
                    table.table,
                    table.state,
                    f"{table.rows:,}",
                    f"{table.source_rows:,}",
                    f"{table.left:,}",
                    f"{table.refused:,}",
                    "-" if table.rows_per_second is None else f"{table.rows_per_second:,.0f}",
                ]
                for table in found.tables
            ],
            numbers=frozenset(range(2, 7)),
        )
    for key in found.foreign_keys:
        if key.state == "dropped":
            say(f"foreign key {key.name} of {key.table}: dropped; the run puts it back before it is complete")
        elif key.state == "unproved":
            say(f"foreign key {key.name} of {key.table}: unproved; the run proves it before it is complete")
        else:
            say(f"foreign key {key.name} of {key.table}: not valid; rows that lack theirs of {key.parent} are, if any:")
            say(f"  {key.orphans}")
        say(f"  by hand, once all rows have theirs: {key.statement}")
    if found.in_quarantine:
        say(f"{found.in_quarantine:,} rows in quarantine: botdata quarantine list")
    for stream in found.streams:
        for line in stream_lines(stream.document):
            say(line)
    _show_inventory(found)
    _show_undelivered(found)
    say(f"Next: {found.next_step}")


def _show_inventory(found: Status) -> None:
    from app.cli.output import say

    if found.inventory is None or not found.inventory.open_items:
        return
    still_open, taken_at = found.inventory.open_items, found.inventory.taken_at
    verb = "item of the inventory of {} is" if len(still_open) == 1 else "items of the inventory of {} are"
    say(f"{len(still_open):,} {verb.format(taken_at)} open: botdata inventory")
    for item in still_open[:_SHOWN]:
        say(f"  {item}")
    if len(still_open) > _SHOWN:
        say(f"  ... and {len(still_open) - _SHOWN:,} more")


def _show_undelivered(found: Status) -> None:
    from app.cli.output import say

    left = found.undelivered
    if left.given_up or (left.waiting and left.last_error):
        why = f" (last error: {left.last_error})" if left.last_error else ""
        say(f"notifications: {left.waiting:,} wait, {left.given_up:,} given up{why}: botdata notify")


def runs_document(found: Status) -> dict[str, Any]:
    """All of it for `--json`."""
    from app.cli.output import document

    return document(
        "status",
        ok=True,
        installed=found.installed,
        holder=found.holder,
        paused=found.pause and found.pause.document,
        paces=[one.document for one in found.paces],
        runs=[
            {
                "run": run.number,
                "command": run.command,
                "source": run.source,
                "state": run.state,
                "begun_at": run.begun_at,
                "finished_at": run.finished_at,
            }
            for run in found.runs
        ],
        run=found.shown.number if found.shown else None,
        tables=[
            {
                "table": table.table,
                "state": table.state,
                "rows": table.rows,
                "source_rows": table.source_rows,
                "left": table.left,
                "refused": table.refused,
                "rows_per_second": None if table.rows_per_second is None else round(table.rows_per_second, 1),
            }
            for table in found.tables
        ],
        foreign_keys=[
            {
                "table": key.table,
                "name": key.name,
                "state": key.state,
                "references": key.parent,
                "query": key.orphans,
                "statement": key.statement,
            }
            for key in found.foreign_keys
        ],
        in_quarantine=found.in_quarantine,
        streams=[stream.document for stream in found.streams],
        inventory_taken_at=found.inventory.taken_at if found.inventory else None,
        inventory_open=list(found.inventory.open_items) if found.inventory else [],
        notifications_waiting=found.undelivered.waiting,
        notifications_given_up=found.undelivered.given_up,
        notifications_error=found.undelivered.last_error,
        next=str(found.next_step),
    )


def uninstall(
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Drop the tool's own schema `botdata` from the target. Runs, checkpoints and quarantine go, your tables stay.

    Example: botdata uninstall --yes
    """
    from app.cli.output import document, say, show_json
    from app.cutover.moves.uninstalling import refuse_during_cutover, refuse_with_rehearsals
    from app.migration.target.foreign_keys import put_back
    from app.migration.target.target_session import explained, open_target
    from app.settings import load_settings
    from app.state.streams import read_streams
    from app.state.tool_schema import drop_tool_schema, may_read
    from app.stores.postgres.database_url import schemas_of_url, shown_url

    if as_json and not yes:
        raise typer.BadParameter("with --json nothing is asked, so --yes is needed too", param_hint="--json")
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
                for key in await put_back(connection, step="uninstall"):
                    typer.echo(f"{key.sentence}; once there are none: {key.statement}", err=True)
                if await may_read(connection, "streams"):
                    for stream in await read_streams(connection, reverse=None):
                        drop = f"SELECT pg_drop_replication_slot('{stream.name}'); DROP PUBLICATION {stream.name}"
                        end = "target" if stream.reverse else "source"
                        typer.echo(f"at the {end} a change stream's slot may be left: {drop}", err=True)
                return await drop_tool_schema(connection)

    dropped = run_async(work())
    if as_json:
        show_json(document("uninstall", ok=True, dropped=dropped))
    else:
        say(f"schema {tool}: dropped" if dropped else f"schema {tool}: there was none")
