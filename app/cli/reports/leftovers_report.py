"""What a command leaves as it is, in words and as parts of a document."""

import shlex
from collections.abc import Sequence

from app.cli.output import say
from app.migration.sources.moved_tables import WITHOUT_COLUMNS, WITHOUT_COLUMNS_REMEDY, NotMoved
from app.migration.target.leftovers import Unusable
from app.next_step import Command, NextStep


def show_leftovers(not_usable: Sequence[Unusable], not_seen: Sequence[str] = ()) -> None:
    """Print which objects of the target cannot be used yet, with the statements, and what could not be seen."""
    for sentence in not_seen:
        say(f"not seen: {sentence}")
    for one in not_usable:
        say(f"NOT USABLE YET: {one.name}: {one.why}. Run:")
        say(f"  {one.statement}")


def not_usable_list(not_usable: Sequence[Unusable]) -> list[dict[str, str]]:
    """The same objects for `--json`."""
    return [{"object": one.name, "why": one.why, "statement": one.statement} for one in not_usable]


def but_not_usable(not_usable: Sequence[Unusable]) -> str:
    """What a line that says "complete" has to add."""
    many = "" if len(not_usable) == 1 else "s"
    return (
        f", but {len(not_usable)} object{many} of the target not usable before the above is run" if not_usable else ""
    )


def show_not_moved(not_moved: Sequence[NotMoved], what: str) -> None:
    """Print which tables were left out.

    Args:
        what: was not done to them, as "copied".
    """
    for one in not_moved:
        say(f"NOT {what}: {one.table}: {one.why}.")
        say(f"  {one.remedy}")


def not_moved_list(not_moved: Sequence[NotMoved]) -> list[dict[str, str]]:
    """The same tables for `--json`."""
    return [one._asdict() for one in not_moved]


def not_moved_next(not_moved: Sequence[NotMoved], command: str) -> NextStep:
    """The command for them alone, where there is one."""
    if not (movable := [one.table for one in not_moved if one.why != WITHOUT_COLUMNS]):
        return NextStep(f"{WITHOUT_COLUMNS_REMEDY}; then: ", Command(command))
    names = shlex.quote(",".join(movable))
    return NextStep(Command(command, f"--tables {names} --source postgresql://..."), ", or give them a primary key")
