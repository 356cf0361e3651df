"""The options that the user gave, so that a command named next repeats those that it takes."""

from dataclasses import dataclass

from app.next_step import Command, NextStep

# Commands that take the options which choose the tables and the source; of these, the ones that look at both first.
_CHOOSING = ("copy", "migrate", "preflight", "sync", "verify")
_LOOKING = ("copy", "migrate", "preflight")
_QUARANTINE = ("quarantine export", "quarantine list", "quarantine replay")  # these take tables and models alone


@dataclass(frozen=True)
class GivenOptions:
    """Options as they are to be typed again, without those that have a value of their own each time.

    Attributes:
        command: the command that they were given to.
        tables: which chose the tables.
        source: which chose the source and the models.
        checks: which answer what preflight finds.
        own: of this command alone.
        foreign: the tables are another project's, for which the cutover and its commands are nothing.
    """

    command: str = ""
    tables: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    foreign: bool = False

    def complete(self, command: Command, *, step: str | None = None) -> Command:
        """A command with those of the options that it takes, and that it does not name itself.

        Args:
            step: the part of this command that names the command; going on with it means this one.
        """
        is_own = command.name in (self.command, step)
        name = self.command if is_own else command.name
        said = {word for word in command.options.split() if word.startswith("--")}
        given: list[str] = []
        if is_own or name in _CHOOSING:
            given += [*(self.tables if "--tables" not in said else ()), *self.source]
        elif name in _QUARANTINE:
            both = (*self.tables, *self.source)
            given += [option for option in both if option.startswith(("--tables", "--metadata"))]
        if is_own or name in _LOOKING:
            given += self.checks
        if is_own:
            given += self.own
        words = [option for option in given if option.split()[0] not in said]
        return Command(name, " ".join([*words, command.options]).strip())

    def text(self, next_step: NextStep, *, step: str | None = None) -> str:
        """What to do next, to be shown; `step` as in `complete`."""
        return str(next_step.with_options(lambda command: self.complete(command, step=step)))

    def command_text(self, name: str, options: str = "") -> str:
        """One command, to be shown."""
        return str(self.complete(Command(name, options)))
