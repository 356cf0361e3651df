"""What `botdata cutover status` and `history` say, in words and as documents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from app.cli.output import document, say, show_table
from app.cli.reports.cutover_words import (
    accepted_list,
    after,
    ago,
    moment,
    reads_told,
    reason_list,
    show_accepted,
    show_objections,
)

if TYPE_CHECKING:
    from app.cutover.moves.status import Cutover
    from app.state.cutover.backlog import Waiting
    from app.state.cutover.moves import PastMove
    from app.state.cutover.processes import Process


def show_status(found: Cutover) -> None:
    """Print all of it, troubles and the next command last."""
    row = found.row
    since = f"since {row.moved_at:%Y-%m-%d %H:%M:%S} UTC" if row.moved_at else "no command has moved it yet"
    say(f"stage: {row.stage} ({since}); authority: {row.stage.authority.label}")
    if row.moved_out:
        say(f"NOT SERVED HERE: {row.moved_out}")
    if row.finished_at:
        say(f"the way back was ended at {row.finished_at:%Y-%m-%d %H:%M:%S} UTC")
    if found.move:
        move = found.move
        say(f"open: {move.label}, begun at {move.begun_at} by {move.done_by}; {_remaining(move)}")
    show_table(
        ["table", "authority", "of its own", "last sync"],
        [
            [
                table,
                store.label,
                "yes" if table in found.own else "-",
                f"{ago(found.synced[table])} ago" if table in found.synced else "-",
            ]
            for table, store in found.authorities.items()
        ],
    )
    say()
    if found.processes:
        show_table(
            ["process", "stage", "by", "report", "in flight", "mirrors", "spooled"],
            [_process_cells(process) for process in found.processes],
            numbers=frozenset({4, 5, 6}),
        )
    else:
        say("no process of the bot reports itself: start the bot with CUTOVER_STAGE=database and DATABASE_URL")
    show_reads(found.processes)
    for what, waiting in (("notes", found.notes), ("outbox", found.outbox)):
        say(f"{what}: {_waiting(waiting)}")
    show_accepted(found.accepted)
    say(f"target: {found.standbys.label}")
    show_objections(found.warnings, "warning")
    show_objections(found.troubles, "trouble")
    if found.objections is None:
        say(f"the gate to {row.stage.next} could not be asked: {found.unasked}")
    else:
        show_objections(found.objections, f"against {row.stage.next}")
        if row.stage.next and not found.objections:
            say(f"nothing stands against {row.stage.next}")
    say(f"Next: {_next_command(found)}")


def _next_command(found: Cutover) -> str:
    """What to run next: what mends a trouble or an objection first, the next move else."""
    row, move = found.row, found.move
    if move is not None:
        return f"botdata cutover status; the move ends within {max(1.0, move.remaining or 0.0):.0f} s"
    if found.troubles:
        return after(found.troubles, "botdata cutover status")
    if found.objections:
        return after(found.objections, "botdata cutover advance")
    if row.stage.next is not None:
        return "botdata cutover advance"
    if row.finished_at is None:
        return "botdata cutover finish, once the way back is not needed any more"
    return "nothing: the cutover is finished"


def _remaining(move: PastMove) -> str:
    if move.remaining is not None and move.remaining > 0:
        return f"writes are held for {move.remaining:.1f} s more at most"
    return "its time is up, and the next command or process ends it"


def _process_cells(process: Process) -> list[str]:
    return [
        process.name,
        process.stage.value,
        process.chosen_by,
        f"{ago(process.age)} ago",
        f"{process.in_flight:,}",
        f"{process.pending:,}",
        f"{process.spooled:,}",
    ]


def show_reads(processes: Iterable[Process]) -> None:
    """Print it for those that read from standbys."""
    for process in processes:
        for line in reads_told(process.reads.document()) if process.reads else ():
            say(f"{process.name}: {line}")


def _waiting(waiting: tuple[Waiting, ...]) -> str:
    if not waiting:
        return "none"
    return ", ".join(
        f"{one.table} {one.count:,} (the oldest {ago(one.oldest)}, {one.failed:,} failed)" for one in waiting
    )


def status_document(found: Cutover) -> dict[str, Any]:
    """All of it for `--json`."""
    row, move = found.row, found.move
    return document(
        "cutover status",
        ok=not found.troubles,
        stage=row.stage,
        moved_at=moment(row.moved_at),
        finished_at=moment(row.finished_at),
        moved_out_at=moment(row.moved_out_at),
        authority=row.stage.authority,
        tables=[
            {
                "table": table,
                "authority": store,
                "own": table in found.own,
                "synced": round(found.synced[table], 1) if table in found.synced else None,
            }
            for table, store in found.authorities.items()
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
                "reads": None if one.reads is None else one.reads.document(),
            }
            for one in found.processes
        ],
        notes=_waiting_list(found.notes),
        outbox=_waiting_list(found.outbox),
        accepted=accepted_list(found.accepted),
        move=None
        if move is None
        else {"move": move.label, "begun_at": move.begun_at, "hold_until": move.hold_until, "done_by": move.done_by},
        timeline=found.standbys.timeline,
        standbys=found.standbys.following,
        synchronous_standbys=found.standbys.synchronous,
        moves=row.moves,
        warnings=reason_list(found.warnings),
        troubles=reason_list(found.troubles),
        next_stage=row.stage.next,
        objections=None if found.objections is None else reason_list(found.objections),
        gate_error=found.unasked,
        next=_next_command(found),
    )


def _waiting_list(waiting: tuple[Waiting, ...]) -> list[dict[str, Any]]:
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


def show_history(moves: tuple[PastMove, ...]) -> None:
    """Print the moves, the newest first."""
    if not moves:
        say("no command has moved anything yet")
    else:
        show_table(
            ["number", "begun", "what", "state", "by"],
            [[str(move.number), move.begun_at, move.label, move.state, move.done_by] for move in moves],
            numbers=frozenset({0}),
        )
    for move in moves:
        if move.reason:
            why = "reason" if move.kind == "accept" else "was forced"
            say(f"{move.number} {why}: {move.reason}")
        if move.said:
            say(f"{move.number}: {move.said}")
    say("Next: botdata cutover status")


def history_document(moves: tuple[PastMove, ...]) -> dict[str, Any]:
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
