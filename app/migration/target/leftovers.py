"""What a move leaves as it is, and says so: columns not compared, objects not usable yet, foreign keys not kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.next_step import Command, NextStep


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
        table, parent: the table that it is on, and the one that it refers to.
        there: it is on the table: checked for new rows. False: a partitioned table's, and not there.
        orphans: how many rows lack theirs; None where the role may not read the parent.
        query: lists them.
        moved: the parent is among the tables of the run. Where it is not, as auth.users, the run cannot bring the rows.
        statement: puts it back as it was, once no row lacks its own; PostgreSQL compares all of them.
        marked_valid: it is on the table, and marked valid all the same; else, where it is there, NOT VALID.
    """

    table: str
    name: str
    there: bool
    orphans: int | None
    query: str
    parent: str
    moved: bool
    statement: str
    marked_valid: bool = False

    @property
    def holds_up(self) -> bool:
        """Whether the run is not complete for it: its own rows contradict each other, or what is marked is not so."""
        return self.moved or self.marked_valid or not self.there

    @property
    def sentence(self) -> str:
        """What is wrong, and what lists the rows."""
        if self.marked_valid and not self.orphans:
            return (
                f"foreign key {self.name} of {self.table} is marked valid, and is not proved, since the role may not "
                f"lock or read {self.parent}: rows that lack theirs are listed by {self.query}"
            )
        how = "stays NOT VALID" if self.there else "is not put back"
        how = "is marked valid, and is not" if self.marked_valid else how
        count = "" if self.orphans is None else f"{self.orphans:,} "
        return (
            f"foreign key {self.name} of {self.table} {how}: {count}rows lack the row of {self.parent} that they refer "
            f"to, as this lists: {self.query}"
        )


def mend(broken: Sequence[BrokenForeignKey]) -> NextStep:
    """What helps where foreign keys hold a run up: no copy alone does."""
    ways = []
    if any(key.moved for key in broken):
        ways.append(
            "at the source, give those rows the row that they refer to, or change or delete them; where they are to "
            "stay as they are, drop the key in the target"
        )
    if parents := ", ".join(dict.fromkeys(key.parent for key in broken if not key.moved)):
        ways.append(f"bring the rows of {parents} to the target")
    return NextStep(f"{'; '.join(ways)}; then: ", Command("sync"), ", which puts back what all rows keep")
