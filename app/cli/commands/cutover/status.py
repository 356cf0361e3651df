"""The commands `botdata cutover status` and `history`: they read, change nothing, and say all that is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import AsJson
from app.cli.render import Document, Table, Words, document, moment, rounded, show
from app.cli.reports.cutover_words import accepted, accepted_list, after, ago, reads_told, reason_list, reasons
from app.cli.running import load_settings, run_async

if TYPE_CHECKING:
    from app.cutover.moves.status import Cutover
    from app.state.cutover.backlog import Waiting
    from app.state.cutover.moves import PastMove


def status(as_json: AsJson = False) -> None:
    """Where the cutover stands, and what to run next. What is not well, and what the next stage's gate objects to.

    Exit code 0 only while nothing is wrong with the stage that it is at; what the next gate asks for does not count.

    Example: botdata cutover status
    """
    from app.cutover.moves.status import look

    cutover = run_async(look(load_settings()))
    found = status_document(cutover)
    show(found, status_words(cutover, found), as_json)


def history(
    limit: Annotated[int, typer.Option(help="The newest so many.", min=1)] = 50, as_json: AsJson = False
) -> None:
    """What the commands did. Moves, also those that were given up, who did them, and why they were forced.

    Example: botdata cutover history --limit 10
    """
    from app.cutover.moves.stage_row import open_cutover
    from app.state.cutover.moves import read_moves

    url = load_settings().require_database_url()

    async def read() -> tuple[PastMove, ...]:
        async with open_cutover(url, "cutover history", pending="nothing is changed by it") as connection:
            return await read_moves(connection, limit)

    moves = run_async(read())
    show(history_document(moves), history_words(moves), as_json)


def status_words(cutover: Cutover, found: Document) -> Words:
    """All of it, troubles and the next command last."""
    row, move = cutover.row, cutover.move
    since = f"since {row.moved_at:%Y-%m-%d %H:%M:%S} UTC" if row.moved_at else "no command has moved it yet"
    yield f"stage: {row.stage} ({since}); authority: {row.stage.authority.label}"
    if row.moved_out:
        yield f"NOT SERVED HERE: {row.moved_out}"
    if row.finished_at:
        yield f"the way back was ended at {row.finished_at:%Y-%m-%d %H:%M:%S} UTC"
    if move:
        yield f"open: {move.label}, begun at {move.begun_at} by {move.done_by}; {_remaining(move)}"
    yield Table(
        ["table", "authority", "of its own", "last sync"],
        [
            [
                one["table"],
                one["authority"].label,
                "yes" if one["own"] else "-",
                f"{ago(cutover.synced[one['table']])} ago" if one["table"] in cutover.synced else "-",
            ]
            for one in found["tables"]
        ],
    )
    yield ""
    if found["processes"]:
        headings = ["process", "stage", "by", "report", "in flight", "mirrors", "spooled"]
        counts = ("in_flight", "pending_mirrors", "spooled")
        yield Table(
            headings,
            [
                [one["process"], one["stage"], one["chosen_by"], f"{ago(process.age)} ago", *(one[n] for n in counts)]
                for one, process in zip(found["processes"], cutover.processes, strict=True)
            ],
            numbers={4, 5, 6},
        )
    else:
        yield "no process of the bot reports itself: start the bot with CUTOVER_STAGE=database and DATABASE_URL"
    yield from reads_told(found["processes"])
    for what, waiting in (("notes", cutover.notes), ("outbox", cutover.outbox)):
        yield f"{what}: {_waiting(waiting)}"
    yield from accepted(found["accepted"])
    yield f"target: {cutover.standbys.label}"
    yield from reasons(found["warnings"], "warning")
    yield from reasons(found["troubles"], "trouble")
    against = found["objections"]
    if against is None:
        yield f"the gate to {row.stage.next} could not be asked: {cutover.unasked}"
    elif row.stage.next and not against:
        yield f"nothing stands against {row.stage.next}"
    yield from reasons(against or (), f"against {row.stage.next}")
    yield f"Next: {found['next']}"


def _next_command(cutover: Cutover) -> str:
    """What to run next: what mends a trouble or an objection first, the next move else."""
    row, move = cutover.row, cutover.move
    if row.moved_out:
        return "botdata cutover status, at the server where the salon lives now"
    if move is not None:
        return f"botdata cutover status; the move ends within {max(1.0, move.remaining or 0.0):.0f} s"
    if cutover.troubles:
        return after(cutover.troubles, "botdata cutover status")
    if cutover.objections:
        return after(cutover.objections, "botdata cutover advance")
    if row.stage.next is not None:
        return "botdata cutover advance"
    if row.finished_at is None:
        return "botdata cutover finish, once the way back is not needed any more"
    return "nothing: the cutover is finished"


def _remaining(move: PastMove) -> str:
    if move.remaining is not None and move.remaining > 0:
        return f"writes are held for {move.remaining:.1f} s more at most"
    return "its time is up, and the next command or process ends it"


def _waiting(waiting: Sequence[Waiting]) -> str:
    told = (f"{one.table} {one.count:,} (the oldest {ago(one.oldest)}, {one.failed:,} failed)" for one in waiting)
    return ", ".join(told) or "none"


def status_document(cutover: Cutover) -> Document:
    """All of it for `--json`."""
    row, move = cutover.row, cutover.move
    return document(
        "cutover status",
        ok=not cutover.troubles,
        stage=row.stage,
        moved_at=moment(row.moved_at),
        finished_at=moment(row.finished_at),
        moved_out_at=moment(row.moved_out_at),
        authority=row.stage.authority,
        tables=[
            {
                "table": table,
                "authority": store,
                "own": table in cutover.own,
                "synced": rounded(cutover.synced.get(table), 1),
            }
            for table, store in cutover.authorities.items()
        ],
        processes=[
            {
                "process": one.name,
                "stage": one.stage,
                "chosen_by": one.chosen_by,
                "age": round(one.age, 1),
                "in_flight": one.in_flight,
                "pending_mirrors": one.pending,
                "spooled": one.spooled,
                "problem": one.problem,
                "reads": one.reads and one.reads.document(),
            }
            for one in cutover.processes
        ],
        notes=_waiting_list(cutover.notes),
        outbox=_waiting_list(cutover.outbox),
        accepted=accepted_list(cutover.accepted),
        move=None
        if move is None
        else {"move": move.label, "begun_at": move.begun_at, "hold_until": move.hold_until, "done_by": move.done_by},
        timeline=cutover.standbys.timeline,
        standbys=cutover.standbys.following,
        synchronous_standbys=cutover.standbys.synchronous,
        moves=row.moves,
        warnings=reason_list(cutover.warnings),
        troubles=reason_list(cutover.troubles),
        next_stage=row.stage.next,
        objections=None if cutover.objections is None else reason_list(cutover.objections),
        gate_error=cutover.unasked,
        next=_next_command(cutover),
    )


def _waiting_list(waiting: tuple[Waiting, ...]) -> list[Document]:
    return [
        {
            "table": one.table,
            "count": one.count,
            "oldest": round(one.oldest, 1),
            "failed": one.failed,
            "last_error": one.last_error,
        }
        for one in waiting
    ]


def history_words(moves: tuple[PastMove, ...]) -> Words:
    """The moves, the newest first."""
    if not moves:
        yield "no command has moved anything yet"
    else:
        yield Table(
            ["number", "begun", "what", "state", "by"],
            [[str(move.number), move.begun_at, move.label, move.state, move.done_by] for move in moves],
            numbers={0},
        )
    for move in moves:
        if move.reason:
            why = "reason" if move.kind == "accept" else "was forced"
            yield f"{move.number} {why}: {move.reason}"
        if move.said:
            yield f"{move.number}: {move.said}"
    yield "Next: botdata cutover status"


def history_document(moves: tuple[PastMove, ...]) -> Document:
    """The moves for `--json`."""
    return document(
        "cutover history",
        ok=True,
        moves=[
            {
                "number": move.number,
                "kind": move.kind,
                "before": move.from_stage,
                "to": move.to_stage,
                "subject": move.subject,
                "state": move.state,
                "begun_at": move.begun_at,
                "ended_at": move.ended_at,
                "done_by": move.done_by,
                "reason": move.reason,
                "said": move.said,
            }
            for move in moves
        ],
        next="botdata cutover status",
    )
