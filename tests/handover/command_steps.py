"""The steps of the commands and of the persons who give them, and what is in the air."""

from __future__ import annotations

from collections.abc import Iterator

from tests.handover.guards import Guards
from tests.handover.state import Command, Doing, Entry, Hold, Holding, Life, Process, Row, Shared
from tests.handover.steps import About, Step, older, written_to_supabase


def command_steps(shared: Shared, about: About, guards: Guards) -> Iterator[Step]:
    """A handover: there while Supabase is the authority, back while PostgreSQL is."""
    if shared.holding is Holding.NO:
        is_allowed = shared.is_back or shared.proved or not guards.asks("proved")
        if shared.moves < 2 and not shared.command and is_allowed:
            begun = shared._replace(holding=Holding.YES, command=Command.RUNS)
            yield Step("Handover.begin", begun, others=held_for_an_earlier_move)
    elif shared.holding is Holding.YES and guards.asks("deadline"):
        yield Step("the time is up", shared._replace(holding=Holding.TIME_IS_UP))
    elif shared.holding is Holding.TIME_IS_UP and not shared.command:
        yield Step("moves.give_up_expired", shared._replace(holding=Holding.NO))
    if not shared.command:
        return
    yield Step("moves.give_up", shared._replace(holding=Holding.NO, command=Command.NONE))
    in_time = shared.holding is Holding.YES or not guards.asks("in time")
    if in_time and not _late(shared, about, guards):
        moved = shared._replace(holding=Holding.NO, command=Command.NONE, moves=shared.moves + 1)
        yield Step("Handover._move", moved)


def _late(shared: Shared, about: About, guards: Guards) -> bool:
    """As `Handover._late`, and the lock of the transaction that asks it."""
    if guards.asks("acknowledged") and about.does_not_hold:
        return True
    if guards.asks("share lock") and (about.writes or about.sends):
        return True
    if shared.is_back:
        return guards.asks("no entries") and shared.entry is not Entry.NONE
    return (
        (guards.asks("no spool") and about.holds_with_spool)
        or (guards.asks("no notes") and (shared.orphan or about.noted))
        or (guards.asks("still proved") and shared.command is Command.UNPROVED)
    )


def held_for_an_earlier_move(process: Process) -> Process:
    """What reports and holds are worth once another move is begun."""
    row = Row.THERE if process.row in {Row.HELD, Row.HELD_WITH_SPOOL} else process.row
    hold = {Hold.SEEN: Hold.NONE, Hold.REPORTED: Hold.EARLIER}.get(process.hold, process.hold)
    return process._replace(row=row, hold=hold)


def sync_steps(shared: Shared, about: About, guards: Guards) -> Iterator[Step]:
    """A sync with a clean verify, where there is something to repair."""
    is_of_use = shared.orphan or not shared.proved or about.stalls_noted
    waits = about.mirrors or (guards.asks("settled") and shared.write_in_the_air == 1)
    if is_of_use and not shared.is_back and not waits:
        repaired = shared._replace(orphan=False, postgres=shared.supabase, proved=True)
        yield Step("synced_tables.end_look", repaired, others=taken_for_dead)


def taken_for_dead(process: Process) -> Process:
    """A sync takes the note of a process that stands still for a dead one's."""
    is_taken = process.life is Life.PAUSED and process.doing is Doing.NOTED
    return process._replace(doing=Doing.NOTE_TAKEN) if is_taken else process


def late_requests(shared: Shared) -> Iterator[Step]:
    """What a process had sent to Supabase before it died, or lost PostgreSQL."""
    if shared.write_in_the_air:
        yield Step("a request is lost", shared._replace(write_in_the_air=0))
        landed = shared._replace(write_in_the_air=0)
        if shared.is_back:
            yield Step("a request lands late", landed._replace(supabase=False))
        else:
            yield Step("a request lands late", written_to_supabase(landed), others=older)
    if shared.send_in_the_air:
        landed = shared._replace(send_in_the_air=0)
        yield Step("a request is lost", landed)
        yield Step("a request lands late", landed._replace(supabase=shared.send_in_the_air == 2))
