"""A step of the move, told when it begins and when it ends."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from app.errors import BotdataError, MigrationError
from app.notify.delivery import Teller, telling
from app.notify.event import Event
from app.settings import Settings

_SHOWN = 5  # tables
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class StepEnd:
    """What a step came to.

    Attributes:
        complete: all is well.
        told: the counts, in words.
        facts: the same for programs.
        next: what to do next.
        differences: by table, rows that a comparison found to differ.
    """

    complete: bool
    told: str
    facts: Mapping[str, Any]
    next: str | None = None
    differences: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """A step that is to be told.

    Attributes:
        command: such as "copy".
        source: the source's label.
        next_of: what is to be done after an error.
        options: those that say what the command is to do, such as "--follow".
    """

    command: str
    source: str | None
    next_of: Callable[[MigrationError], str | None]
    options: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The command with its options."""
        return " ".join((self.command, *self.options))

    @property
    def facts(self) -> dict[str, Any]:
        """The same for programs."""
        return {"step": self.command, "options": list(self.options)}


async def tell_step(
    settings: Settings, step: Step, work: Callable[[], Awaitable[_Answer]], end_of: Callable[[_Answer], StepEnd]
) -> _Answer:
    """Carry a step out, and tell that it began, and how it ended. Errors are those of the work."""
    async with telling(settings) as teller:
        if teller is None:
            return await work()
        await teller.tell(Event("step_begun", f"{step.name} has begun.", step.facts, step.source))
        try:
            answer = await work()
        except BaseException as error:
            await teller.tell(_stopped(step, error))
            raise
        await _tell_end(teller, step, end_of(answer))
        return answer


async def _tell_end(teller: Teller, step: Step, end: StepEnd) -> None:
    facts = {**step.facts, "complete": end.complete, **end.facts}
    if end.differences:
        listed = [{"table": table, "rows": count} for table, count in end.differences.items()]
        shown = [f"{count:,} rows of {table}" for table, count in end.differences.items()]
        more = f" and {len(shown) - _SHOWN:,} more tables" if len(shown) > _SHOWN else ""
        summary = f"{step.name} found differences: {', '.join(shown[:_SHOWN])}{more}."
        found = {**step.facts, "rows": sum(end.differences.values()), "tables": listed}
        await teller.tell(Event("differences_found", summary, found, step.source, end.next))
    how = "is done" if end.complete else "has ended, and not all is well"
    await teller.tell(Event("step_done", f"{step.name} {how}: {end.told}.", facts, step.source, end.next))


def _stopped(step: Step, error: BaseException) -> Event:
    facts = {**step.facts, "interrupted": isinstance(error, asyncio.CancelledError)}
    next_step = None
    if isinstance(error, MigrationError):
        why = error.message
        facts |= {"table": error.table, "done": error.done, "pending": error.pending}
        next_step = step.next_of(error)
    elif facts["interrupted"]:
        why = "it was interrupted"
    else:
        why = str(error) if isinstance(error, BotdataError) else f"a fault of the program ({type(error).__name__})"
    return Event("step_stopped", f"{step.name} stopped: {why}.", facts | {"why": why}, step.source, next_step)
