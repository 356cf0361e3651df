"""The options that commands share, what they say, and those given, so that a command named next repeats them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from app.next_step import Command, NextStep

if TYPE_CHECKING:
    from app.migration.sources.pace import MaxRate as Rate


class By(StrEnum):
    """How changes are found."""

    XMIN = "xmin"
    STREAM = "stream"


Tables = Annotated[str | None, typer.Option("--tables", help="Only these tables, separated by commas.")]
WithBaileys = Annotated[bool, typer.Option("--with-baileys", help="The WhatsApp session tables too.")]
KeyRoleOk = Annotated[bool, typer.Option("--key-role-ok", help="The key's own role is known to see every row.")]
ShowValues = Annotated[bool, typer.Option("--show-values", help="Print the values that differ, and keys unmasked.")]
MaxRate = Annotated[
    str | None,
    typer.Option(
        "--max-rate",
        help="Read no more of the source in a second than so many rows (2000), or megabytes (5MB).",
        metavar="ROWS|MB",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, and nothing else there.")]
SourceUrl = Annotated[
    str | None,
    typer.Option(
        "--source",
        help="Where the rows come from: supabase (the REST API, by SUPABASE_URL and SUPABASE_KEY), or postgresql://...",
        metavar="supabase|URL",
    ),
]
SourceSchema = Annotated[
    str | None,
    typer.Option(
        "--source-schema",
        help="The schema of --source's database that holds the tables; public unless given.",
        metavar="NAME",
    ),
]
Metadata = Annotated[
    str | None,
    typer.Option("--metadata", help="Another project's tables in place of the bot's.", metavar="PACKAGE.MODULE:BASE"),
]


def names_in(given: str) -> list[str]:
    """The names of an option that takes several, separated by commas."""
    return [name.strip() for name in given.split(",") if name.strip()]


def require_yes(yes: bool, as_json: bool) -> None:
    """Refuse `--json` without `--yes`, where a person would be asked."""
    if as_json and not yes:
        raise typer.BadParameter("with --json nothing is asked, so --yes is needed too", param_hint="--json")


def rate_of(max_rate: str | None) -> Rate | None:
    """What `--max-rate` says."""
    from app.migration.sources.pace import MaxRate as Rate

    try:
        return Rate.parse(max_rate) if max_rate is not None else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--max-rate") from None


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


IgnoreColumn = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore-column",
        help="A column of the source whose data is not needed.",
        metavar="TABLE.COLUMN",
        show_default=False,
    ),
]


Accept = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        help="An error of preflight known to be harmless.",
        metavar="CODE[:TABLE[.COLUMN]]",
        show_default=False,
    ),
]


def again(**options: object) -> list[str]:
    """Options as they are to be typed again in the next command: switches that are on, and values that were given."""
    words = []
    for name, given in options.items():
        values = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
        option = f"--{name.replace('_', '-')}"
        words += [
            option if value is True else f"{option} {shlex.quote(str(value))}"
            for value in values
            if value is not None and value is not False
        ]
    return words
