"""What to do next, as data: errors and reports carry it, and only the command line makes a text of it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """A command to run.

    Attributes:
        name: as "cutover advance".
        options: its arguments and options, as "--max-deletes 10"; those that choose tables and source are left out.
    """

    name: str
    options: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, ("botdata", self.name, self.options)))


class NextStep:
    """Words for a person, and the commands among them, in their order."""

    __slots__ = ("parts",)

    def __init__(self, *parts: str | Command) -> None:
        self.parts = parts

    def with_options(self, given: Callable[[Command], Command]) -> "NextStep":
        """The same, with each command as `given` completes it."""
        return NextStep(*(given(part) if isinstance(part, Command) else part for part in self.parts))

    def __str__(self) -> str:
        return "".join(map(str, self.parts))
