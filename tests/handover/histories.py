"""Whether the model accepts what was seen of a real run: writes of one key begun and acknowledged, and the moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from functools import cache
from typing import NamedTuple

from app.cutover.stages import Store
from tests.cutover import history
from tests.handover.command_steps import command_steps
from tests.handover.guards import Guards
from tests.handover.process_steps import process_steps
from tests.handover.state import Life, Process, Row, Shared
from tests.handover.steps import About, Step

_MOST = 200_000  # places that are looked at
_UPSERTS = {"JournalWriter.upsert": Store.SUPABASE, "OutboxWriter.upsert": Store.POSTGRES}
_NEVER_SEEN = {"Membership.leave", "JournalWriter._leave", "Notes.bring_in_of_the_dead"}


class Write(NamedTuple):
    """One write of the key.

    Attributes:
        writer: whoever makes one write after the other; a process of the model.
        token: what it wrote, which no other write did.
        ended: when it was acknowledged; None: it was not, and may have been made or not.
        store: that acknowledged it, where it is known.
    """

    writer: str
    token: str
    began: float
    ended: float | None = None
    store: Store | None = None


class Move(NamedTuple):
    """A handover that was made, between these times."""

    began: float
    ended: float


def of_load(writes: Iterable[history.Write]) -> list[Write]:
    """What a load wrote to one key."""
    return [Write(write.writer, write.token, write.began, write.ended) for write in writes]


class _Status(Enum):
    IDLE = 0
    OPEN = 1
    BEGUN = 2
    MADE = 3


class _Point(NamedTuple):
    """Something that was seen at a time."""

    at: float
    what: str
    writer: int = 0
    write: Write | None = None


class _Place(NamedTuple):
    """How far a run of the model has come."""

    point: int
    shared: Shared
    processes: tuple[Process, ...]
    statuses: tuple[_Status, ...]
    writes: tuple[Write | None, ...]
    newest: str | None
    moves_asked: int


def accepts(writes: Sequence[Write], moves: Sequence[Move], found: str | None) -> bool:
    """Whether a run of the model has these writes and moves, in an order that their times allow.

    Args:
        moves: there, back, and so on no further; Supabase is the authority at first.
        found: the token that the authority holds at the end.

    Raises:
        RuntimeError: that is not decided within a bounded search.
    """
    writers = sorted({write.writer for write in writes})
    points = _points(writes, moves, writers)
    count = len(writers)
    follows = Process(Life.RUNS, Row.THERE)
    start = _Place(0, Shared(), (follows,) * count, (_Status.IDLE,) * count, (None,) * count, None, 0)
    stack, seen = [start], {start}
    while stack:
        place = stack.pop()
        if place.point == len(points) and place.newest == found:
            return True
        if len(seen) > _MOST:
            raise RuntimeError("the history is too long to be decided")
        for following in _following(place, points):
            if following not in seen:
                seen.add(following)
                stack.append(following)
    return False


def _points(writes: Sequence[Write], moves: Sequence[Move], writers: Sequence[str]) -> list[_Point]:
    points = []
    for write in writes:
        points.append(_Point(write.began, "begin", writers.index(write.writer), write))
        if write.ended is not None:
            points.append(_Point(write.ended, "end", writers.index(write.writer), write))
    for move in moves:
        points += [_Point(move.began, "move begins"), _Point(move.ended, "move ends")]
    return sorted(points, key=lambda point: point.at)


def _following(place: _Place, points: Sequence[_Point]) -> Iterator[_Place]:
    """Where a run may be next; what is looked at first comes last."""
    yield from _by_a_step(place)
    if place.point == len(points):
        return  # what was not acknowledged may still be made
    seen = _as_seen(place, points[place.point])
    if seen is not None:
        yield seen._replace(point=place.point + 1)


def _as_seen(place: _Place, point: _Point) -> _Place | None:
    """The place once this was seen; None: it cannot be seen here."""
    if point.what == "move begins":
        return place._replace(moves_asked=place.moves_asked + 1)
    if point.what == "move ends":
        return place if place.shared.moves == place.moves_asked else None
    writer, status = point.writer, place.statuses[point.writer]
    if point.what == "begin":
        # One before it that was not acknowledged was made, or never is.
        return _with(place, writer, _Status.OPEN, point.write) if status is not _Status.BEGUN else None
    return _with(place, writer, _Status.IDLE, None) if status is _Status.MADE else None


def _with(place: _Place, writer: int, status: _Status, write: Write | None) -> _Place:
    statuses, writes = list(place.statuses), list(place.writes)
    statuses[writer], writes[writer] = status, write
    return place._replace(statuses=tuple(statuses), writes=tuple(writes))


@cache
def _own_steps(shared: Shared, process: Process, about: About) -> tuple[Step, ...]:
    return tuple(step for step in process_steps(shared, process, about, Guards()) if step.name not in _NEVER_SEEN)


@cache
def _about(processes: tuple[Process, ...]) -> About:
    return About(*map(any, zip(*map(About.of, processes), strict=True)))


def _by_a_step(place: _Place) -> Iterator[_Place]:
    about = _about(place.processes)
    if place.moves_asked > place.shared.moves:
        for step in command_steps(place.shared, about, Guards()):
            after = place.processes if step.others is None else tuple(map(step.others, place.processes))
            yield place._replace(shared=step.shared, processes=after)
    for number, process in enumerate(place.processes):
        for step in _own_steps(place.shared, process, about):
            yield from _by_own_step(place, number, step)


def _by_own_step(place: _Place, number: int, step: Step) -> Iterator[_Place]:
    status, write = place.statuses[number], place.writes[number]
    after = place
    if step.name == "Membership.writing":
        if status is not _Status.OPEN:
            return
        after = _with(place, number, _Status.BEGUN, write)
    elif step.name == "Membership.look_again":
        after = _with(place, number, _Status.OPEN, write)
    elif (store := _UPSERTS.get(step.name)) is not None:
        if status is not _Status.BEGUN or write is None or write.store not in {None, store}:
            return
        after = _with(place, number, _Status.MADE, write)._replace(newest=write.token)
    others = place.processes
    if step.others is not None:
        others = tuple(map(step.others, others))
    processes = list(others)
    processes[number] = step.process or place.processes[number]
    yield after._replace(shared=step.shared, processes=tuple(processes))
