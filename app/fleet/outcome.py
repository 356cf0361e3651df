"""What came of a command for one salon, and how well that is."""

from dataclasses import dataclass
from enum import StrEnum

from app.errors import BotdataError, MigrationError
from app.next_step import NextStep
from app.state.fleet.salons import Standing


class Result(StrEnum):
    """What came of it, in a word or two."""

    WELL = "well"
    CREATED = "created"
    UPGRADED = "upgraded"
    AT_HEAD = "at the head"
    WOULD_CREATE = "would be created"
    WOULD_UPGRADE = "would be upgraded"
    EQUAL = "equal"
    EQUAL_SINCE = "equal before"
    NOT_COMPARED = "not compared"
    NOT_WELL = "not well"
    DIFFERS = "differs"
    NO_SOURCE = "no source"
    FAILED = "failed"
    NOT_DONE = "not done"

    @property
    def is_well(self) -> bool:
        """Whether nothing is left to be done for it."""
        return self not in _NOT_WELL


_NOT_WELL = {Result.NOT_WELL, Result.DIFFERS, Result.NO_SOURCE, Result.FAILED, Result.NOT_DONE}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Attributes:
        salon: its schema.
        standing: where it stands now; None: that is not known.
        reason: why, in words without values of rows.
        next_step: what to do next; its commands are the salon's own, but for those of the fleet.
        seconds: that it took.
    """

    salon: str
    result: Result
    standing: Standing | None = None
    reason: str | None = None
    next_step: NextStep | None = None
    seconds: float = 0.0


def failed(salon: str, error: BotdataError) -> Outcome:
    """A salon whose work has stopped with an error."""
    if isinstance(error, MigrationError):
        done = f"; done: {error.done}" if error.done else ""
        return Outcome(salon, Result.FAILED, None, f"{error.message}{done}", error.next_step)
    return Outcome(salon, Result.FAILED, None, str(error))
