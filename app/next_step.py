"""What to do next, as data: errors and reports carry it, and only the command line makes a text of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Command:
    """A command to run.

    Attributes:
        name: as "cutover advance".
        options: its arguments and options, as "--max-deletes 10". Those that the user gave to choose the tables and
            the source are not among them: the command line adds them.
    """

    name: str
    options: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, ("botdata", self.name, self.options)))


class NextStep(tuple[str | Command, ...]):
    """Words for a person, and the commands among them, in their order."""

    __slots__ = ()

    def __new__(cls, *parts: str | Command) -> Self:
        return super().__new__(cls, parts)

    def with_options(self, given: Callable[[Command], Command]) -> Self:
        """The same, with each command as `given` completes it."""
        return type(self)(*(given(part) if isinstance(part, Command) else part for part in self))

    def __str__(self) -> str:
        return "".join(map(str, self))
