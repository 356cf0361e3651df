"""What a move leaves as it is, and says so: columns not compared, objects not usable yet, foreign keys not kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.next_step import Command, NextStep
from app.state.runs.foreign_keys import KeptForeignKey


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A column of either side that verify does not compare, and why."""

    column: str
    why: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """An object of the target that the application cannot use as it is.

    Attributes:
        name: its kind and its quoted name, such as "materialized view public.totals".
        statement: what to run; in words where it takes a number from the source.
    """

    name: str
    why: str
    statement: str


@dataclass(frozen=True, slots=True)
class BrokenForeignKey:
    """A foreign key that could not be put back as it was, since rows lack the row that they name.

    Attributes:
        key: where it is not valid, it is checked for new rows all the same; a partitioned table's may stay dropped.
        orphans: how many rows lack theirs; None where the role may not read the parent.
        moved: the parent is among the tables of the run. Where it is not, as auth.users, the run cannot bring the rows.
    """

    key: KeptForeignKey
    orphans: int | None
    moved: bool

    @property
    def holds_up(self) -> bool:
        """Whether the run is not complete for it: its own rows contradict each other, or what is marked is not so."""
        return self.moved or self.key.state != "not valid"

    @property
    def sentence(self) -> str:
        """What is wrong, and what lists the rows."""
        key = self.key
        if key.state == "unproved" and not self.orphans:
            return (
                f"foreign key {key.name} of {key.of_table} is marked valid, and is not proved, since the role may not "
                f"lock or read {key.parent}: rows that lack theirs are listed by {key.orphans}"
            )
        stands = {
            "dropped": "is not put back",
            "not valid": "stays NOT VALID",
            "unproved": "is marked valid, and is not",
        }
        count = "" if self.orphans is None else f"{self.orphans:,} "
        return (
            f"foreign key {key.name} of {key.of_table} {stands[key.state]}: {count}rows lack the row of {key.parent} "
            f"that they refer to, as this lists: {key.orphans}"
        )


def mend(broken: Sequence[BrokenForeignKey]) -> NextStep:
    """What helps where foreign keys hold a run up: no copy alone does."""
    ways = []
    if any(one.moved for one in broken):
        ways.append(
            "at the source, give those rows the row that they refer to, or change or delete them; where they are to "
            "stay as they are, drop the key in the target"
        )
    if parents := ", ".join(dict.fromkeys(one.key.parent for one in broken if not one.moved)):
        ways.append(f"bring the rows of {parents} to the target")
    return NextStep(f"{'; '.join(ways)}; then: ", Command("sync"), ", which puts back what all rows keep")
