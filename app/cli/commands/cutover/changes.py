"""The commands `botdata cutover finish`, `forget` and `table`: what else changes where the cutover stands."""

from __future__ import annotations

import shlex
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.commands.cutover.moves import DryRun, Force, kept_reason
from app.cli.options import AsJson, GivenOptions, Yes, again, require_yes
from app.cli.render import Document, Words, document, moment, say, show
from app.cli.reports.cutover_words import after, ago, counted, reason_list, reasons
from app.cli.running import load_settings, move_and_tell, run_async
from app.cutover.stages import Stage, Store

if TYPE_CHECKING:
    from app.cutover.moves.finish import Ending
    from app.cutover.moves.table_authority import TableMoved
    from app.state.cutover.processes import Process


def finish_words(ending: Ending, found: Document) -> Words:
    """What was ended."""
    if ending.finished_at is not None:
        yield f"the way back was ended before, at {ending.finished_at:%Y-%m-%d %H:%M:%S} UTC; nothing was changed"
    else:
        yield f"the way back is ended: {ending.recorded:,} recorded entries were dropped, and nothing more is recorded"
    if ending.still_supabase:
        yield f"The writers of {', '.join(ending.still_supabase)} still write to Supabase; keep botdata sync --follow"
    yield f"Next: {found['next']}"


def _next_of_finish(ending: Ending) -> str:
    if ending.still_supabase:
        return f"move these writers, then for each table: botdata cutover table {ending.still_supabase[0]} postgres"
    return "botdata cutover status"


def finish_document(ending: Ending) -> Document:
    """The end of the way back for `--json`."""
    return document(
        "cutover finish",
        ok=True,
        finished_before=moment(ending.finished_at),
        dropped=0 if ending.finished_at else ending.recorded,
        still_supabase=list(ending.still_supabase),
        next=_next_of_finish(ending),
    )


def forget_words(process: Process, found: Document) -> Words:
    """What was forgotten, and what may be left of it."""
    yield f"process {process.name} is forgotten; it was at {process.stage}, and had reported {ago(process.age)} before"
    for warning in found["warnings"]:
        yield f"warning: {warning}"
    yield f"Next: {found['next']}"


def _warnings(process: Process) -> list[str]:
    found = [
        "a process that still runs somewhere, cut off from PostgreSQL, goes on as before: make sure that it has ended"
    ]
    if process.spooled:
        found.append(
            f"its spool file held {process.spooled:,} notes: keep the directory CUTOVER_SPOOL of its machine; the next "
            "process there brings them in"
        )
    return found


def _next_of_forget(process: Process) -> str:
    if process.stage in {Stage.DUALWRITE, Stage.SHADOW}:
        return "botdata sync, then: botdata verify; the gate to live asks for both anew"
    return "botdata cutover status"


def forget_document(process: Process) -> Document:
    """What was forgotten, for `--json`."""
    return document(
        "cutover forget",
        ok=True,
        process=process.name,
        stage=process.stage,
        age=round(process.age, 1),
        spooled=process.spooled,
        warnings=_warnings(process),
        next=_next_of_forget(process),
    )


def table_words(moved: TableMoved, found: Document) -> Words:
    """What stands against the move of a table's authority, and what came of it."""
    yield from reasons(found["objections"], "passed over" if moved.moved else "against it")
    if moved.moved:
        yield f"{moved.table}: its authority is {moved.to.label} now, and was {moved.before.label}"
    elif moved.before is moved.to:
        yield f"{moved.table}: its authority is {moved.to.label} already; nothing was changed"
    elif moved.dry_run:
        yield f"dry run: {counted(moved.objections)} against it; nothing was changed"
    else:
        yield f"NOT moved: {counted(moved.objections)} against it; the authority of {moved.table} stays"
    yield f"Next: {found['next']}"


def _next_of_table(moved: TableMoved) -> str:
    command = f"botdata cutover table {moved.table} {moved.to.value}"
    if moved.moved:
        return f"start the writer of {moved.table} on {moved.to.label}; botdata cutover status"
    if moved.before is moved.to:
        return "botdata cutover status"
    return after(moved.objections, command) if moved.objections else command


def table_document(moved: TableMoved) -> Document:
    """What came of it, for `--json`."""
    return document(
        "cutover table",
        ok=moved.ok,
        table=moved.table,
        before=moved.before,
        to=moved.to,
        moved=moved.moved,
        dry_run=moved.dry_run,
        forced=moved.forced,
        objections=reason_list(moved.objections),
        next=_next_of_table(moved),
    )


class StoreName(StrEnum):
    """The stores, as the command line names them."""

    POSTGRES = "postgres"
    SUPABASE = "supabase"


def finish(yes: Yes = False, as_json: AsJson = False) -> None:
    """End the way back, at complete. Supabase is told nothing more, and what was recorded for it is dropped.

    Example: botdata cutover finish --yes
    """
    from app.cutover.moves.finish import finish as end
    from app.cutover.moves.finish import look_at_end

    require_yes(yes, as_json)
    settings = load_settings()
    ending = run_async(look_at_end(settings))
    if ending.finished_at is None:
        if not yes:
            say(f"{ending.recorded:,} recorded entries are dropped: Supabase never gets these writes, nor later ones.")
            if ending.still_supabase:
                say(f"The writers of {', '.join(ending.still_supabase)} still write to Supabase: keep it for them.")
            typer.confirm("End the way back to Supabase for good?", abort=True)
        ending = move_and_tell(settings, end(settings), GivenOptions("cutover finish", own=("--yes",)))
    found = finish_document(ending)
    show(found, finish_words(ending, found), as_json)


def forget(
    process: Annotated[str, typer.Argument(help="Its name, as botdata cutover status shows it.")],
    force: Force = None,
    as_json: AsJson = False,
) -> None:
    """Take out a process that ended without saying goodbye. Moves no longer wait for it.

    Example: botdata cutover forget bot-1:4711:a1b2c3
    """
    from app.cutover.moves.forget import forget as take_out

    settings = load_settings()
    reason = kept_reason(force, settings)
    given = GivenOptions("cutover forget", own=(shlex.quote(process), *again(force=reason)))
    forgotten = move_and_tell(settings, take_out(settings, process, force=reason), given)
    found = forget_document(forgotten)
    show(found, forget_words(forgotten, found), as_json)


def table(
    name: Annotated[str, typer.Argument(help="A table that no method of the data layer writes.")],
    authority: Annotated[StoreName, typer.Argument(help="The store that its writer writes to from now on.")],
    force: Force = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Say that the writer of a table has moved. Of bookings, staff, messages, actions or company_sync_status.

    Example: botdata cutover table bookings postgres
    """
    from app.cutover.moves.table_authority import move_table

    settings, to = load_settings(), Store(authority.value)
    reason = kept_reason(force, settings)
    given = GivenOptions("cutover table", own=(shlex.quote(name), authority.value, *again(force=reason)))
    moved = move_and_tell(settings, move_table(settings, name, to, force=reason, dry_run=dry_run), given)
    found = table_document(moved)
    show(found, table_words(moved, found), as_json)
