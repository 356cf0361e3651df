"""After the move back no other one is made: only what can still spoil Supabase's row is followed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.handover.state import Command, Doing, Entry, Life, Process, Row, Shared
from tests.handover.steps import SENDS, Step, older, written_to_supabase

MOVES = 2
_MATTERS = {Doing.NOTHING, Doing.AT_POSTGRES, Doing.WRITES, Doing.STOOD_STILL_0, Doing.STOOD_STILL_1, *SENDS}
_FOLLOWED = Process(Life.RUNS, Row.THERE, view=MOVES)  # it knows of the move, and writes to Supabase alone


def shortened(step: Step) -> Step:
    """The step, without what does not matter any more."""
    process = None if step.process is None else of_process(step.process)
    others = of_process if step.others is None else step.others
    return step._replace(shared=of_all(step.shared), process=process, others=others)


def of_all(shared: Shared) -> Shared:
    """What matters of what is shared."""
    return shared._replace(
        command=Command.NONE, proved=True, postgres=False, orphan=False, file=False, entry=Entry.NONE,
        write_in_the_air=0, faults=0,
    )  # fmt: skip


def of_process(process: Process) -> Process:
    """What matters of a process."""
    if process.life in {Life.ABSENT, Life.DEAD}:
        return Process()
    if process.view == MOVES or process.doing not in _MATTERS:
        return _FOLLOWED
    return process._replace(spool=False)


def steps_at_the_end(shared: Shared, process: Process, steps: Iterable[Step]) -> Iterator[Step]:
    """The steps of one process."""
    if process == _FOLLOWED:
        yield Step("JournalWriter.upsert", of_all(written_to_supabase(shared)), process, older)
    elif process.life is not Life.ABSENT:
        for step in steps:
            short = shortened(step)
            yield short._replace(others=step.others)
