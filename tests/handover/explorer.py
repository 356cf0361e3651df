"""Goes through all states that a model can reach, breadth first, and tells the shortest way to a broken promise."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from tests.handover.model import Model
from tests.handover.state import Holding, Life, Link, Process, Row, Shared
from tests.handover.steps import About, Others, Step

STUCK = "stuck: nothing ends the move that is under way"
# What brings a move nearer to its end by itself; a command that a person gives later does not.
_ENDS = {"the time is up", "moves.give_up", "Handover._move", "Membership._look", "processes.register"}
_BITS = 12  # for the number of a process
_MEMBER = (1 << _BITS) - 1


@dataclass
class Found:
    """What an exploration found.

    Attributes:
        states: how many were seen.
        violation: the promise that is broken; None: none is.
        trace: the steps to it, from the beginning.
        names: of all steps that may be taken.
    """

    states: int = 0
    violation: str | None = None
    trace: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        if self.violation is None:
            return f"{self.states:,} states, and no promise is broken"
        return "\n  ".join([f"{self.violation}, found among {self.states:,} states:", *self.trace])


class _Numbered(NamedTuple):
    """A step, its parts as numbers; `others` gives what each other process becomes."""

    name: str
    shared: int
    process: int
    others: dict[int, int] | None
    violation: str | None


class _Becoming(dict[int, int]):
    """What processes become by a function, each looked at once."""

    def __init__(self, explorer: Explorer, others: Others) -> None:
        super().__init__()
        self._explorer, self._others = explorer, others

    def __missing__(self, number: int) -> int:
        self[number] = self._explorer.process_number(self._others(self._explorer.processes[number]))
        return self[number]


class Explorer:
    """A state is one number, made of those of its parts. Processes are alike, so they stand in order.

    Args:
        processes: how many there are.
        faults: how many may happen.
    """

    def __init__(self, model: Model, *, processes: int, faults: int) -> None:
        self._model = model
        self._bits = _BITS * processes
        self._places = range(0, self._bits, _BITS)
        self._numbers: dict[Shared | Process, int] = {}
        self._shared: list[Shared] = []
        self._broken: list[str | None] = []  # by what is shared
        self.processes: list[Process] = []
        self._about: list[int] = []  # of each process, the bits of its `About`
        self._of_process: dict[tuple[int, int, int], list[_Numbered]] = {}
        self._of_none: dict[tuple[int, int], list[_Numbered]] = {}
        self._becoming: dict[Others, _Becoming] = {}
        first = self.process_number(Process())
        self._start = self._state(self._shared_number(Shared(faults=faults)), [first] * processes)
        self._came = {self._start: self._start}

    def explore(self) -> Found:
        """All states; ends at the first that breaks a promise."""
        came, broken, level = self._came, self._broken, [self._start]
        while level:
            following = []
            for state in level:
                ends = self._shared[state >> self._bits].holding is Holding.NO
                for name, to, violation in self._next(state):
                    ends = ends or name in _ENDS
                    if violation is None:
                        if to in came:
                            continue
                        came[to] = state
                        following.append(to)
                        violation = broken[to >> self._bits]
                    if violation is not None:
                        return self._told(state, f"{name}: {self._words(to)}", violation)
                if not ends and self._somebody_waits(state):
                    return self._told(state, "", STUCK)
            level = following
        steps = (step for known in (self._of_process, self._of_none) for found in known.values() for step in found)
        return Found(len(came), names={step.name for step in steps})

    def process_number(self, process: Process) -> int:
        """The number of a process."""
        if process not in self._numbers:
            self._numbers[process] = len(self.processes)
            self.processes.append(process)
            self._about.append(sum(holds << place for place, holds in enumerate(About.of(process))))
        return self._numbers[process]

    def _shared_number(self, shared: Shared) -> int:
        if shared not in self._numbers:
            self._numbers[shared] = len(self._shared)
            self._shared.append(shared)
            self._broken.append(self._model.broken(shared))
        return self._numbers[shared]

    def _state(self, shared: int, members: list[int]) -> int:
        for member in sorted(members):
            shared = shared << _BITS | member
        return shared

    def _members(self, state: int) -> list[int]:
        return [state >> place & _MEMBER for place in self._places]

    def _next(self, state: int) -> list[tuple[str, int, str | None]]:
        shared, members = state >> self._bits, self._members(state)
        about = 0
        for member in members:
            about |= self._about[member]
        found = []
        for name, to, _, others, violation in self._steps_of_none(shared, about):
            after = members if others is None else [others[member] for member in members]
            found.append((name, self._state(to, after), violation))
        for place, member in enumerate(members):
            if member in members[:place]:
                continue  # another one like it
            rest = members[:place] + members[place + 1 :]
            for name, to, process, others, violation in self._steps_of_process(shared, member, about):
                after = rest.copy() if others is None else [others[other] for other in rest]
                after.append(process)
                after.sort()
                for other in after:  # as in `_state`; here a call would take a tenth of all the time
                    to = to << _BITS | other
                found.append((name, to, violation))
        return found

    def _steps_of_none(self, shared: int, about: int) -> list[_Numbered]:
        key = (shared, about)
        if key not in self._of_none:
            steps = self._model.shared_steps(self._shared[shared], _about(about))
            self._of_none[key] = [self._numbered(step, 0) for step in steps]
        return self._of_none[key]

    def _steps_of_process(self, shared: int, member: int, about: int) -> list[_Numbered]:
        key = (shared, member, about)
        if key not in self._of_process:
            steps = self._model.process_steps(self._shared[shared], self.processes[member], _about(about))
            self._of_process[key] = [self._numbered(step, member) for step in steps]
        return self._of_process[key]

    def _numbered(self, step: Step, member: int) -> _Numbered:
        others = None
        if step.others is not None:
            others = self._becoming.setdefault(step.others, _Becoming(self, step.others))
        process = member if step.process is None else self.process_number(step.process)
        return _Numbered(step.name, self._shared_number(step.shared), process, others, step.violation)

    def _somebody_waits(self, state: int) -> bool:
        """Whether the time is not up, or the move keeps a process from its writes that could go on."""
        if self._shared[state >> self._bits].holding is Holding.YES:
            return True
        processes = [self.processes[member] for member in self._members(state)]
        return any(one.life is Life.RUNS and one.link is Link.WELL and one.row is not Row.NONE for one in processes)

    def _told(self, state: int, last: str, violation: str) -> Found:
        lines = [last]
        while state != self._start:
            before = self._came[state]
            name = next(name for name, to, _ in self._next(before) if to == state)
            lines.append(f"{name}: {self._words(state)}")
            state = before
        return Found(len(self._came), violation, lines[::-1])

    def _words(self, state: int) -> str:
        parts = [self._shared[state >> self._bits], *(self.processes[member] for member in self._members(state))]
        return " | ".join(told for part in parts if (told := _differing(part)))


def _about(bits: int) -> About:
    return About(*(bool(bits >> place & 1) for place in range(len(About._fields))))


def _differing(part: Shared | Process) -> str:
    """What is not as at the beginning."""
    values = zip(part._fields, part, type(part)(), strict=True)
    return " ".join(
        f"{name}={value.name if isinstance(value, Enum) else value}" for name, value, usual in values if value != usual
    )
