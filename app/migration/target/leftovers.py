"""What a move leaves as it is, and says so: columns that verify does not compare, objects that cannot be used yet."""

from dataclasses import dataclass


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
