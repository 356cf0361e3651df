"""What came of a command for one salon, and how well that is."""

from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum

from app.errors import BotdataError, MigrationError
from app.next_step import Command, NextStep
from app.state.fleet.salons import Standing


class SalonResult(StrEnum):
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
    MOVED_OUT = "moved out"
    NOT_WELL = "not well"
    DIFFERS = "differs"
    NO_SOURCE = "no source"
    FAILED = "failed"
    NOT_DONE = "not done"

    @property
    def is_well(self) -> bool:
        """Whether nothing is left to be done for it."""
        return self not in _NOT_WELL


_NOT_WELL = {SalonResult.NOT_WELL, SalonResult.DIFFERS, SalonResult.NO_SOURCE, SalonResult.FAILED, SalonResult.NOT_DONE}


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
    result: SalonResult
    standing: Standing | None = None
    reason: str | None = None
    next_step: NextStep | None = None
    seconds: float = 0.0


def failed(salon: str, error: BotdataError) -> Outcome:
    """A salon whose work has stopped with an error."""
    if isinstance(error, MigrationError):
        done = f"; done: {error.done}" if error.done else ""
        return Outcome(salon, SalonResult.FAILED, None, f"{error.message}{done}", error.next_step)
    return Outcome(salon, SalonResult.FAILED, None, str(error))


def away(salon: str, standing: Standing) -> Outcome | None:
    """A salon that has moved to another server, or is on its way; None: it lives here."""
    if standing.moved_out_at is None:
        return None
    since = f"{standing.moved_out_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if standing.archive is None:
        why = f"it is held still for schema move-out since {since}, and its archive is not complete"
        then = NextStep(
            "where that command has ended: ", Command("schema move-out", salon),
            ", which goes on, or ", Command("schema move-out", f"{salon} --cancel"),
        )  # fmt: skip
        return Outcome(salon, SalonResult.NOT_WELL, standing, why, then)
    why = f"its tables have moved to another server, at {since}, and stay as its archive has them"
    then = NextStep("with what schema move-in said there: ", Command("schema drop", f"{salon} --moved-in RECEIPT"))
    return Outcome(salon, SalonResult.MOVED_OUT, standing, why, then)
