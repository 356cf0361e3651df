"""One step of the model, and what the steps ask of all processes together."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from tests.handover.state import Doing, Life, Process, Row, Shared

Others: TypeAlias = Callable[[Process], Process]

NOTED = {Doing.NOTED, Doing.MIRROR_DUE, Doing.MIRRORS_0, Doing.MIRRORS_1}
MIRRORS = {Doing.MIRRORS_0, Doing.MIRRORS_1}
SENDS = {Doing.SENDS_0, Doing.SENDS_1, Doing.SENDS_UNSURE_0, Doing.SENDS_UNSURE_1}
SENDS_THE_NEWEST = {Doing.SENDS_1, Doing.SENDS_UNSURE_1}
SENDS_UNSURE = {Doing.SENDS_UNSURE_0, Doing.SENDS_UNSURE_1}
_CARRIES_THE_NEWEST = {Doing.MIRRORS_1, Doing.SENDS_1, Doing.SENDS_UNSURE_1, Doing.STOOD_STILL_1}


class Step(NamedTuple):
    """What may happen next.

    Attributes:
        name: of the function; of what is no function's, words.
        process: the one that acts, afterwards; None: none does.
        others: what becomes of the others.
        violation: what is broken by it.
    """

    name: str
    shared: Shared
    process: Process | None = None
    others: Others | None = None
    violation: str | None = None


class About(NamedTuple):
    """Whether there is a process of which this holds."""

    mirrors: bool = False
    sends: bool = False
    sends_the_newest: bool = False
    writes: bool = False
    noted: bool = False
    does_not_hold: bool = False
    holds_with_spool: bool = False
    stalls_noted: bool = False

    @classmethod
    def of(cls, process: Process) -> About:
        """What holds of one."""
        return cls(
            process.doing in MIRRORS,
            process.doing in SENDS,
            process.doing in SENDS_THE_NEWEST,
            process.doing is Doing.WRITES,
            process.doing in NOTED,
            process.row is Row.THERE,
            process.row is Row.HELD_WITH_SPOOL,
            process.life is Life.PAUSED and process.doing is Doing.NOTED,
        )


def older(process: Process) -> Process:
    """What a process carries when a newer write has been made."""
    return process._replace(doing=Doing(process.doing - 1)) if process.doing in _CARRIES_THE_NEWEST else process


def without_its_transaction(process: Process) -> Process:
    """What a process does once PostgreSQL has rolled its transaction back, or a write cannot get there."""
    if process.doing in MIRRORS:
        return process._replace(doing=Doing.MIRROR_DUE)
    if process.doing in {Doing.AT_POSTGRES, Doing.WRITES} or process.doing in SENDS:
        return process._replace(doing=Doing.NOTHING)
    return process


def written_to_supabase(shared: Shared) -> Shared:
    """A write was made there; what else is on its way is older."""
    return shared._replace(supabase=True, postgres=False, send_in_the_air=min(shared.send_in_the_air, 1))


def written_to_postgres(shared: Shared) -> Shared:
    """Likewise."""
    return shared._replace(supabase=False, postgres=True, send_in_the_air=min(shared.send_in_the_air, 1))
