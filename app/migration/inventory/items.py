"""An item of the inventory, and its fate."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from app.next_step import NextStep
from app.state.runs.inventory import KeptItem, Tick


class Fate(StrEnum):
    """What becomes of an item."""

    MOVED = "moved and verified"
    RECREATED = "recreated and proved"
    BY_HAND = "by hand"
    NOT_NEEDED = "not needed"
    NOT_VISIBLE = "not visible from here"
    UNKNOWN = "unknown"


_CLOSED = {Fate.MOVED, Fate.RECREATED, Fate.NOT_NEEDED}


@dataclass(frozen=True, slots=True)
class Item:
    """Something that a source holds, or that could not be looked at.

    Attributes:
        kind: as "trigger".
        name: of this kind, as "auth.users.on_auth_user_created"; "(all)" where no single one could be seen.
        detail: what it is, or why it has its fate. It holds no value, key or secret.
        how: what to do about it, where something is left to be done.
        definition: a hash of what it is; a tick counts for this definition alone.
        tick: what a person said of it, of this or of an earlier definition.
    """

    kind: str
    name: str
    fate: Fate
    detail: str
    how: NextStep | None = None
    definition: str = ""
    tick: Tick | None = None

    @property
    def label(self) -> str:
        """The item's name among all, the same in each inventory."""
        return f"{self.kind} {self.name}"

    @property
    def done(self) -> bool:
        """Whether a person has ticked it off as it is now."""
        return self.tick is not None and self.tick.definition == self.definition

    @property
    def changed(self) -> bool:
        """Whether it has changed since a person ticked it off."""
        return self.tick is not None and not self.done

    @property
    def open(self) -> bool:
        """Whether something is left to be done."""
        return self.fate not in _CLOSED and not self.done

    def kept(self) -> KeptItem:
        """What is kept of it."""
        return KeptItem(self.label, self.fate.value, self.definition, self.fate not in _CLOSED)


def hash_of(*parts: str | None) -> str:
    """The hash of a definition, which may hold what must not be kept."""
    return hashlib.sha256("\0".join(part or "" for part in parts).encode()).hexdigest()
