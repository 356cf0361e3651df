"""The steps of a rehearsal: how each ended, how long it took, and how much it moved."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from app.errors import BotdataError

PASSED, FAILED, LEFT_OUT = "passed", "failed", "left out"


@dataclass(slots=True)
class RehearsedStep:
    """One step.

    Attributes:
        state: PASSED, FAILED or LEFT_OUT.
        seconds: None where it was left out.
        rows: that it copied, compared, changed or (in the cutover) wrote; None where it has none.
        bytes: that the rows take in the target, with their indexes; None where that was not asked.
        said: why it failed or was left out, or what else is to be known of it.
    """

    name: str
    state: str = PASSED
    seconds: float | None = None
    rows: int | None = None
    bytes: int | None = None
    said: str | None = None

    def fail(self, why: str) -> None:
        """It did not pass, and what follows may go on."""
        self.state, self.said = FAILED, why


@dataclass(slots=True)
class Steps:
    """The steps so far, in their order.

    Attributes:
        on_begin: told the name of each when it begins.
    """

    on_begin: Callable[[str], None]
    done: list[RehearsedStep] = field(default_factory=list)

    @property
    def all_passed(self) -> bool:
        """Whether none failed; what was left out is no failure."""
        return not any(step.state == FAILED for step in self.done)

    @contextmanager
    def step(self, name: str) -> Iterator[RehearsedStep]:
        """Time a step. An error of ours makes it a failed one, and goes on to the caller."""
        step = RehearsedStep(name)
        self.done.append(step)
        self.on_begin(name)
        began = monotonic()
        try:
            yield step
        except BotdataError as error:
            step.fail(getattr(error, "message", None) or str(error))
            raise
        except BaseException:
            step.fail("it was stopped")
            raise
        finally:
            step.seconds = monotonic() - began

    def leave_out(self, name: str, why: str) -> None:
        """A step that is not taken."""
        self.done.append(RehearsedStep(name, LEFT_OUT, said=why))
