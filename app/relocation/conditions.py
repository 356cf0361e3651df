"""What speaks against moving a salon out: state that has a meaning at its present place alone."""

from dataclasses import dataclass

from psycopg import AsyncConnection

from app.cutover.stages import Stage
from app.next_step import Command, NextStep
from app.state.cutover import backlog
from app.state.cutover.moves import open_move
from app.state.cutover.processes import Process, read_processes
from app.state.cutover.stage import StageRow
from app.state.rehearsals import not_removed
from app.state.relocation.contents import outbox_to_move
from app.state.runs.runs import is_unfinished
from app.state.streams import read_streams


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why it cannot move now, and what to do."""

    why: str
    remedy: NextStep


async def objections(connection: AsyncConnection, row: StageRow) -> list[Obstacle]:
    """All that there are, of a stage's row that was read just now."""
    against: list[Obstacle] = []

    def object_to(why: str, *remedy: str | Command) -> None:
        against.append(Obstacle(why, NextStep(*remedy)))

    if row.managed and row.stage not in {Stage.OFF, Stage.COMPLETE}:
        object_to(
            f"the cutover stands at {row.stage}, where both stores get each write: mirrors would lose their place",
            "on to its end with ", Command("cutover advance"), ", or down to off with ", Command("cutover back"),
        )  # fmt: skip
    if move := await open_move(connection):
        object_to(f"a move is under way: {move.label}", "when it has ended: ", Command("schema move-out"))
    for process in await read_processes(connection):
        _object_to_process(against, process)
    if notes := sum(waiting.count for waiting in await backlog.notes(connection)):
        object_to(f"{notes:,} notes of the journal, whose rows may be in Supabase alone", Command("sync"))
    outbox = await outbox_to_move(connection, managed=row.managed)
    if outbox.unsettled:
        object_to(f"{outbox.unsettled:,} entries of the outbox may be on their way", Command("mirror drain"))
    elif outbox.entries and row.managed and row.stage is Stage.OFF:
        object_to(f"{outbox.entries:,} entries of the outbox have not been sent", Command("mirror drain"))
    for stream in await read_streams(connection):
        object_to(
            f"the change stream from {stream.source} has a slot there that is this place's alone",
            Command("stream drop"), ", and begin it again at the new place",
        )  # fmt: skip
    if await is_unfinished(connection, "copy"):
        object_to("a copy was begun and is not complete", Command("copy"), ", which goes on with it")
    if left := await not_removed(connection):
        object_to(f"{len(left)} rehearsals live, or have left a database", Command("rehearse", "--clean-up"))
    return against


def _object_to_process(against: list[Obstacle], process: Process) -> None:
    ended = NextStep("stop it; if it has ended: ", Command("cutover forget", process.name))
    if process.stage is not Stage.COMPLETE:
        why = f"process {process.name} is at {process.stage} and writes to Supabase: the new place would not know of it"
        against.append(Obstacle(why, ended))
    elif process.pending or process.spooled:
        why = f"process {process.name} has {process.pending:,} mirrors to make and {process.spooled:,} notes in a file"
        against.append(Obstacle(why, NextStep("let it settle, or ", *ended)))
