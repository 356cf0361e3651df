"""What may go wrong: a process or the command is killed, a process stalls or is cut off, a standby is promoted."""

from __future__ import annotations

from collections.abc import Iterator

from tests.handover.guards import Guards
from tests.handover.state import Command, Doing, Entry, Hold, Holding, Life, Link, Process, Row, Shared
from tests.handover.steps import NOTED, SENDS, SENDS_THE_NEWEST, About, Step, without_its_transaction

FAULTS = ("crash", "pause", "cut", "failover")
LOSSY = ("crash", "pause", "cut", "lossy")  # the standby lacked the last transactions, though no move
_AT_SUPABASE = {Doing.NOTED, Doing.NOTE_TAKEN, Doing.NOTED_IN_FILE}  # a write whose request may be on its way


def shared_faults(shared: Shared, about: About, kinds: frozenset[str], guards: Guards) -> Iterator[Step]:
    """Those that are no process's."""
    after = shared._replace(faults=shared.faults - 1, command=Command.NONE)
    if "crash" in kinds and shared.command:
        yield Step("the command is killed", after)
    if "failover" in kinds:
        for left in _after_a_send(after, sends=about.sends, newest=about.sends_the_newest):
            yield Step("a standby is promoted", left, others=without_its_transaction)
    if "lossy" in kinds:
        for holding in {shared.holding, Holding.NO}:
            yield from _without_the_last(after._replace(holding=holding), about, guards)


def _without_the_last(shared: Shared, about: About, guards: Guards) -> Iterator[Step]:
    """What was written to PostgreSQL last is not there; nothing of before is in the air."""
    name = "a standby that lacks the last transactions is promoted"
    lost = shared._replace(
        proved=shared.proved and not guards.asks("proved anew"), write_in_the_air=0, send_in_the_air=0
    )
    if not shared.is_back:  # mirrored rows and notes
        yield Step(name, lost._replace(postgres=False), others=without_its_transaction)
        yield Step(name, lost._replace(postgres=False, orphan=False), others=_without_its_note)
        return
    # The callers' last writes are lost, with their entries; what is there is what PostgreSQL promises from now on.
    entry = Entry.UNSURE if about.sends else shared.entry
    yield Step(name, lost._replace(postgres=True, entry=entry), others=without_its_transaction)
    yield Step(name, lost._replace(postgres=True, supabase=True, entry=Entry.NONE), others=without_its_transaction)


def _without_its_note(process: Process) -> Process:
    if process.doing is Doing.NOTED:
        return process._replace(doing=Doing.NOTE_TAKEN)
    return process._replace(doing=Doing.MIRROR_DUE_UNNOTED) if process.doing in NOTED else process


def process_faults(
    shared: Shared, process: Process, about: About, kinds: frozenset[str], guards: Guards
) -> Iterator[Step]:
    """Those of one process."""
    after = shared._replace(faults=shared.faults - 1)
    is_there = process.life in {Life.RUNS, Life.PAUSED}
    sends, newest = process.doing in SENDS, process.doing in SENDS_THE_NEWEST
    if "crash" in kinds and is_there:
        yield from _killed(after, process)
    # Elsewhere one that stalls does what a slow one does, too.
    counts = shared.is_back or process.doing is Doing.NOTED
    if "pause" in kinds and process.life is Life.RUNS and counts:
        yield Step("a process stalls", after, process._replace(life=Life.PAUSED))
    if "cut" in kinds and process.life is Life.RUNS and process.link is Link.WELL:
        cut = without_its_transaction(process)._replace(link=Link.CUT)
        for left in _after_a_send(after, sends=sends, newest=newest):
            yield Step("a connection is lost", left, cut)
    if "failover" in kinds and is_there:
        # One that stays with the old primary, where all that it asks hangs, is as good as cut off.
        hangs = guards.asks("report and read") and guards.asks("warning")
        stays = without_its_transaction(process)._replace(link=Link.CUT if hangs else Link.OLD_PRIMARY)
        for old in [0] if hangs else _known_to_the_old_primary(shared, process):
            promoted = after._replace(command=Command.NONE, old=old)
            for left in _after_a_send(promoted, sends=about.sends, newest=about.sends_the_newest):
                yield Step("a standby is promoted", left, stays, without_its_transaction)


def _known_to_the_old_primary(shared: Shared, process: Process) -> Iterator[int]:
    yield shared.moves
    if process.hold is Hold.REPORTED and process.view < shared.moves:
        yield process.view  # the move's own commit has come to the standby alone


def _killed(shared: Shared, process: Process) -> Iterator[Step]:
    doing = process.doing
    spool = process.spool or doing is Doing.NOTED_IN_FILE
    after = Process(Life.DEAD, process.row, spool=spool)
    if process.row in {Row.NONE, Row.FORGOTTEN}:
        after = Process()
        shared = shared._replace(file=shared.file or spool)
    if doing in NOTED:
        shared = shared._replace(orphan=True)
    for left in _after_a_send(shared, sends=doing in SENDS, newest=doing in SENDS_THE_NEWEST):
        yield Step("a process is killed", left, after)
    if doing in _AT_SUPABASE:
        yield Step("a process is killed", shared._replace(write_in_the_air=1 if doing is Doing.NOTED else 2), after)


def _after_a_send(shared: Shared, *, sends: bool, newest: bool) -> Iterator[Shared]:
    """The transaction of a send, if there is one, was rolled back; its request may be on its way."""
    if not sends:
        yield shared
        return
    left = shared._replace(entry=Entry.UNSURE)
    yield left
    if not shared.send_in_the_air:
        yield left._replace(send_in_the_air=1 + newest)
