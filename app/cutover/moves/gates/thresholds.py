"""What the gates ask for, where an owner may ask for more or less."""

from dataclasses import dataclass, field

from app.migration.preflight.findings import Accepted


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How much proof is enough.

    Attributes:
        comparisons: of each method in use.
        differences: confirmed ones that are tolerated, of each method.
        hours: how far back both are counted.
        outbox_seconds: the age past which an entry of the outbox is too old.
        accepted: errors of preflight that the owner knows to be harmless.
    """

    comparisons: int = 1000
    differences: int = 0
    hours: float = 24.0
    outbox_seconds: float = 60.0
    accepted: Accepted = field(default_factory=Accepted)
