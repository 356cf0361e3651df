"""A row of the benchmark's table, and how what stands in it is measured: side by side, by turns, medians."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol


@dataclass(frozen=True)
class Row:
    """What was measured, against what, and whether it is as promised.

    Attributes:
        what: e.g. "copy over REST, 100,000 clients".
        against: what it is compared with.
        to_reach: the promise, e.g. "at most 1.8x".
        measured: the figure, and what it was made of, e.g. "1.52x (2.31 s, 1.52 s)".
        reached: whether the promise holds.
        samples: every single measurement by its name; in seconds where the name does not say otherwise.
    """

    what: str
    against: str
    to_reach: str
    measured: str
    reached: bool
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Size:
    """How much is measured: `full` for figures that mean something, else just enough to see that it runs."""

    full: bool

    def of(self, full: int, quick: int) -> int:
        """The one of two numbers of rows, rounds or seconds that belongs to this size."""
        return full if self.full else quick


class Suite(Protocol):
    """A module that measures some rows."""

    def rows(self, size: Size) -> Iterator[Row]:
        """Measure; a row is given as soon as it is known."""


def by_turns(rounds: int, ways: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure each way once a round, in an order that turns with the rounds.

    Args:
        ways: by name, what carries one out and returns its figure.

    Returns:
        The figures of each way, a round each.
    """
    names = list(ways)
    figures: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for position in range(len(names)):
            name = names[(number + position) % len(names)]
            figures[name].append(ways[name]())
    return figures


def ratio(figures: Mapping[str, Sequence[float]], ours: str, theirs: str) -> float:
    """The median of ours over the median of theirs."""
    return median(figures[ours]) / median(figures[theirs])


def at_most(
    most: float, what: str, against: str, figures: Mapping[str, Sequence[float]], ours: str, theirs: str
) -> Row:
    """A row that promises that ours takes at most `most` times what theirs takes."""
    times = ratio(figures, ours, theirs)
    measured = f"{times:.2f}x ({_seconds(figures[ours])} against {_seconds(figures[theirs])})"
    return Row(what, against, f"at most {most:g}x", measured, times <= most, dict(figures))


def at_least(
    least: float, what: str, against: str, figures: Mapping[str, Sequence[float]], ours: str, theirs: str
) -> Row:
    """A row that promises that ours is at least `least` times as fast as theirs; figures are times."""
    times = ratio(figures, theirs, ours)
    measured = f"{times:.2f}x ({_seconds(figures[ours])} against {_seconds(figures[theirs])})"
    return Row(what, against, f"at least {least:g}x as fast", measured, times >= least, dict(figures))


def _seconds(figures: Sequence[float]) -> str:
    middle = median(figures)
    return f"{middle:.2f} s" if middle >= 0.1 else f"{middle * 1000:.2f} ms"
