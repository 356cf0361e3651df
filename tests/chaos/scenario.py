"""What every scenario is given, and what it says of its faults."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.transcript import Transcript


@dataclass
class Outcome:
    """What came of a scenario's faults.

    Attributes:
        injected: how many faults, or generated inputs, there were.
        survived: after how many of them everything was as it has to be.
        lost: rows that are missing, or other than they should be, without a word of it.
        wrong: what was not as it has to be, in words; each with the seed or number that repeats it.
    """

    injected: int = 0
    survived: int = 0
    lost: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Chaos:
    """The setting of one scenario.

    Attributes:
        seed: of every choice; the same seed puts the same faults at the same places.
        share: 1 for the full form, less for a shorter one.
        directory: an empty directory of the scenario's own.
        transcript: all that is logged, printed and raised goes there.
        outcome: what has come of it so far; the scenario adds to it.
    """

    seed: int
    share: float
    directory: Path
    transcript: Transcript
    outcome: Outcome = field(default_factory=Outcome)

    def of(self, full: int, least: int = 1) -> int:
        """This form's part of a full number."""
        return max(least, round(full * self.share))

    def chance(self, *place: object) -> random.Random:
        """The choices at one place, the same for the same seed whatever happens elsewhere."""
        return random.Random(f"{self.seed}:{place}")


@dataclass(frozen=True)
class Scenario:
    """One line of the table."""

    name: str
    faults: str
    run: Callable[[Chaos], None]
