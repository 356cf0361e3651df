"""The steps of one process: it follows the stage, writes, mirrors and sends."""

from __future__ import annotations

from collections.abc import Iterator

from tests.handover.guards import Guards
from tests.handover.state import Doing, Entry, Hold, Holding, Life, Link, Process, Row, Shared
from tests.handover.steps import (
    MIRRORS,
    SENDS,
    SENDS_THE_NEWEST,
    SENDS_UNSURE,
    About,
    Step,
    older,
    without_its_transaction,
    written_to_postgres,
    written_to_supabase,
)

_TWO_AUTHORITIES = "two authorities: a store has acknowledged a write, and the other one is the authority"
_OF_THE_OLD_PRIMARY = "lost: a write was acknowledged that the new primary lacks"
_STOOD_STILL = {Doing.STOOD_STILL_0, Doing.STOOD_STILL_1}
# No write is in flight, and no mirror is to come.
_STILL = {Doing.NOTHING, *SENDS, *_STOOD_STILL}
_IN_THE_TABLE = {Row.THERE, Row.HELD, Row.HELD_WITH_SPOOL}


def process_steps(shared: Shared, process: Process, about: About, guards: Guards) -> Iterator[Step]:
    """All that a process may do, beside processes of which this holds."""
    if process.life is Life.ABSENT:
        started = Process(Life.RUNS, view=shared.moves)
        # As long as it is not registered it does nothing else.
        yield from _look(shared, started, guards)
        if not guards.asks("registered"):
            yield Step("Membership.start", shared, started)
    elif process.life is Life.RUNS:
        if process.link is Link.WELL:
            yield from _look(shared, process, guards)
            yield from _bring_in(shared, process)
            yield from _mirror(shared, process, about, guards)
            yield from _send(shared, process, about, guards)
            yield from _goodbye(shared, process, guards)
        else:
            yield from _without_postgres(shared, process, guards)
        yield from _write(shared, process, guards)
    elif process.life is Life.PAUSED:
        yield Step("a process wakes", shared, process._replace(life=Life.RUNS))
        yield from _silent_transaction_ends(shared, process, guards)
    if process.link is not Link.WELL:
        yield Step("a connection heals", shared, process._replace(link=Link.WELL))
    yield from _forget(shared, process, guards)


def _look(shared: Shared, process: Process, guards: Guards) -> Iterator[Step]:
    is_up = shared.holding is Holding.TIME_IS_UP and guards.asks("given up")
    after = shared._replace(holding=Holding.NO) if is_up else shared
    if process.row in {Row.NONE, Row.FORGOTTEN}:
        hold = Hold.NONE if after.holding is Holding.NO else Hold.SEEN
        registered = process._replace(row=Row.THERE, view=shared.moves, hold=hold)
        yield Step("processes.register", after, registered)
        return
    is_still = process.doing in _STILL or not guards.asks("in flight")
    reports = process.hold in {Hold.SEEN, Hold.REPORTED} and is_still
    held = Row.HELD_WITH_SPOOL if process.spool else Row.HELD
    hold = Hold.NONE
    if shared.holding is not Holding.NO:
        hold = Hold.REPORTED if reports or process.hold is Hold.REPORTED else Hold.SEEN
    looked = process._replace(row=held if reports else Row.THERE, view=shared.moves, hold=hold)
    if is_up or looked != process:
        yield Step("Membership._look", after, looked)


def _without_postgres(shared: Shared, process: Process, guards: Guards) -> Iterator[Step]:
    reported = process.hold in {Hold.REPORTED, Hold.EARLIER}
    is_over = process.hold is Hold.SEEN and shared.holding is not Holding.YES
    if is_over or (reported and not guards.asks("reported")):
        yield Step("Membership._is_lost", shared, process._replace(hold=Hold.NONE))
    if process.link is not Link.OLD_PRIMARY:
        return
    if not guards.asks("report and read") and shared.holding is not Holding.YES:
        yield Step("Membership._look", shared, process._replace(view=shared.old, hold=Hold.NONE))
    if not guards.asks("warning") and process.view % 2 == 1 and process.hold is Hold.NONE:
        yield Step("OutboxWriter.upsert", shared, process, violation=_OF_THE_OLD_PRIMARY)


def _write(shared: Shared, process: Process, guards: Guards) -> Iterator[Step]:
    doing = process.doing
    if doing is Doing.NOTHING:
        yield from _admit(shared, process, guards)
    elif doing is Doing.AT_SUPABASE:
        yield _note(shared, process, guards)
    elif doing in {Doing.NOTED, Doing.NOTE_TAKEN, Doing.NOTED_IN_FILE}:
        after = process._replace(doing=Doing.MIRROR_DUE_UNNOTED)
        if doing is Doing.NOTED and guards.asks("note with its row"):
            after = process._replace(doing=Doing.MIRROR_DUE)
        elif doing is Doing.NOTED_IN_FILE:
            after = process._replace(doing=Doing.NOTHING, spool=True)
        broken = _TWO_AUTHORITIES if shared.is_back else None
        yield Step("JournalWriter.upsert", written_to_supabase(shared), after, older, broken)
        # Its caller has gone. What a sync has taken is noted anew; until it is, it is pending.
        is_noted = doing is Doing.NOTED or (guards.asks("noted anew") and guards.asks("note first"))
        may_leave = doing is Doing.NOTED or (doing is Doing.NOTE_TAKEN and process.link is Link.WELL)
        if may_leave and not shared.write_in_the_air:
            left = shared._replace(orphan=shared.orphan or is_noted, write_in_the_air=1 if is_noted else 2)
            yield Step("JournalWriter._leave", left, process._replace(doing=Doing.NOTHING))
    elif doing is Doing.AT_POSTGRES:
        if shared.is_back or not guards.asks("fence"):
            yield Step("WriteGuard.enter", shared, process._replace(doing=Doing.WRITES))
        else:
            yield _look_again(shared, process)
    elif doing is Doing.WRITES:
        written = written_to_postgres(shared)
        if guards.asks("entry"):
            written = written._replace(entry=max(shared.entry, Entry.SURE))
        broken = None if shared.is_back else _TWO_AUTHORITIES
        yield Step("OutboxWriter.upsert", written, process._replace(doing=Doing.NOTHING), older, broken)


def _admit(shared: Shared, process: Process, guards: Guards) -> Iterator[Step]:
    is_registered = process.row is not Row.NONE or not guards.asks("registered")
    holds = process.hold is not Hold.NONE and guards.asks("holds")
    if not is_registered or holds:
        return
    if process.view % 2 == 0:
        yield Step("Membership.writing", shared, process._replace(doing=Doing.AT_SUPABASE))
    elif process.link is Link.WELL:  # else the write is refused, and nothing has changed
        yield Step("Membership.writing", shared, process._replace(doing=Doing.AT_POSTGRES))


def _note(shared: Shared, process: Process, guards: Guards) -> Step:
    if not guards.asks("note first"):
        return Step("Notes.take", shared, process._replace(doing=Doing.NOTE_TAKEN))
    if process.link is not Link.WELL:
        return Step("FallbackFile.append", shared, process._replace(doing=Doing.NOTED_IN_FILE))
    if shared.is_back:
        return _look_again(shared, process)
    return Step("Notes.take", shared, process._replace(doing=Doing.NOTED))


def _look_again(shared: Shared, process: Process) -> Step:
    return Step("Membership.look_again", shared, process._replace(doing=Doing.NOTHING, view=shared.moves))


def _bring_in(shared: Shared, process: Process) -> Iterator[Step]:
    if process.spool and process.doing is Doing.NOTHING:
        yield Step("Notes.bring_in", shared, process._replace(spool=False, doing=Doing.MIRROR_DUE))
    if shared.file:
        brought = shared.unproved()._replace(file=False, orphan=True)
        yield Step("Notes.bring_in_of_the_dead", brought, process)


def _mirror(shared: Shared, process: Process, about: About, guards: Guards) -> Iterator[Step]:
    after = process._replace(doing=Doing.NOTHING)
    if process.doing in MIRRORS:
        brought = shared if shared.is_back else shared._replace(postgres=process.doing is Doing.MIRRORS_1)
        yield Step("PostgresApplier.mirror", brought, after)
    elif about.mirrors and guards.asks("one mirror"):
        return
    elif process.doing is Doing.MIRROR_DUE_UNNOTED:
        brought = shared if shared.is_back else shared._replace(postgres=shared.supabase)
        yield Step("PostgresApplier.mirror", brought, after)
    elif process.doing is Doing.MIRROR_DUE:
        reads = Doing.MIRRORS_1 if shared.supabase else Doing.MIRRORS_0
        yield Step("SupabaseTable.of_keys", shared, process._replace(doing=reads))


def _send(shared: Shared, process: Process, about: About, guards: Guards) -> Iterator[Step]:
    if process.doing in _STOOD_STILL:
        late = shared._replace(supabase=process.doing is Doing.STOOD_STILL_1)
        yield Step("Sender._bring", late, process._replace(doing=Doing.NOTHING))
    elif process.doing in SENDS:
        sent = shared._replace(supabase=process.doing in SENDS_THE_NEWEST)
        if process.doing in SENDS_UNSURE and guards.asks("read back"):
            sent = sent._replace(entry=Entry.UNSURE)
        yield Step("Sender._attempt", sent, process._replace(doing=Doing.NOTHING))
    elif process.doing is Doing.NOTHING and shared.entry and shared.is_back and not about.sends:
        unsure = shared.entry is Entry.UNSURE
        first = Doing.SENDS_UNSURE_0 if unsure else Doing.SENDS_0
        begun = process._replace(doing=Doing(first + shared.postgres))
        yield Step("Sender.enter", shared._replace(entry=Entry.NONE), begun)
        if unsure and not shared.send_in_the_air:
            left = Entry.NONE if shared.supabase else Entry.SURE
            yield Step("Relay._read_back", shared._replace(entry=left), process)


def _goodbye(shared: Shared, process: Process, guards: Guards) -> Iterator[Step]:
    if process.spool or process.row not in _IN_THE_TABLE:
        return
    is_due = process.doing is Doing.MIRROR_DUE_UNNOTED and guards.asks("noted anew")
    if process.doing in {Doing.NOTHING, Doing.MIRROR_DUE, Doing.MIRROR_DUE_UNNOTED}:
        is_left = shared.orphan or is_due or process.doing is Doing.MIRROR_DUE
        yield Step("Membership.leave", shared._replace(orphan=is_left), Process())


def _silent_transaction_ends(shared: Shared, process: Process, guards: Guards) -> Iterator[Step]:
    name = "the server ends a silent transaction"
    if process.doing in SENDS:
        # Once it wakes it finds that it is too late, and sends nothing.
        after = process._replace(doing=Doing.NOTHING)
        if not guards.asks("stood still"):
            newest = process.doing in SENDS_THE_NEWEST
            after = process._replace(doing=Doing.STOOD_STILL_1 if newest else Doing.STOOD_STILL_0)
        yield Step(name, shared._replace(entry=Entry.UNSURE), after)
    elif process.doing in MIRRORS or process.doing is Doing.WRITES:
        yield Step(name, shared, without_its_transaction(process))


def _forget(shared: Shared, process: Process, guards: Guards) -> Iterator[Step]:
    unproved = shared.unproved()
    is_silent = process.life is Life.PAUSED or process.link is not Link.WELL
    if process.life is Life.DEAD:
        may_land = shared.write_in_the_air == 2 and not shared.is_back
        if not may_land or not guards.asks("forgets late"):
            yield Step("forget.forget", unproved._replace(file=shared.file or process.spool), Process())
    elif process.row in _IN_THE_TABLE and is_silent and (shared.is_back or not guards.asks("forgets the dead")):
        yield Step("forget.forget", unproved, process._replace(row=Row.FORGOTTEN))
