"""A stream that is being followed, and the two ways in which it ends by itself."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from app.migration.stream.applier import Applied
from app.migration.stream.looks import Looks
from app.migration.stream.moments import Moments
from app.migration.stream.source.messages import Message
from app.migration.stream.source.publication import Publication
from app.migration.stream.source.slot import SlotLook, StreamSlot
from app.migration.sync.sync_report import TableSynced
from app.migration.tables.copy_table import CopyTable


class Applying(Protocol):
    """Brings the changes of a peek to the other end."""

    async def apply(
        self, parts: AsyncIterator[list[tuple[Message, int]]], *, after: int, before: int | None = None
    ) -> Applied:
        """See `Applier.apply`."""


class Clock:
    """When something was last done."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """It is done now."""
        self._at = monotonic()

    def due(self, seconds: float) -> bool:
        """Whether that is so long ago; it counts as done now, then."""
        is_due = monotonic() - self._at >= seconds
        if is_due:
            self.begin()
        return is_due


@dataclass(slots=True)
class Stream:
    """What is followed.

    Attributes:
        tables: by the stream.
        rest: the other ones, by xmin or as a whole.
        moments: of the target, taken before each peek.
        seen: up to where a peek has looked.
        position: every transaction whose commit record begins before it is applied.
        done: what was applied since it was last told.
    """

    slot: StreamSlot
    publication: Publication
    applier: Applying
    moments: Moments
    tables: Sequence[CopyTable]
    rest: Sequence[CopyTable]
    published: str
    prints: dict[str, str]
    position: int
    done: dict[str, TableSynced]
    looks: Looks
    lags: list[float] = field(default_factory=list)
    told: Clock = field(default_factory=Clock)
    confirmed: Clock = field(default_factory=Clock)
    checked: Clock = field(default_factory=Clock)
    weighed: Clock = field(default_factory=Clock)
    until: int | None = None
    seen: int | None = None
    is_busy: bool = False


class BeginAnewError(Exception):
    """The stream is to be begun again, with a look at everything."""


class GivenUpError(Exception):
    """There is no stream any more; says why."""


async def weigh(slot: StreamSlot, most_held: int, end: str) -> SlotLook:
    """See whether the stream may go on; returns the slot as it is.

    Args:
        most_held: bytes of its log that the end may keep which has the slot.
        end: that, in a word.

    Raises:
        GivenUpError: it keeps more.
        BeginAnewError: the slot is lost.
    """
    look = await slot.look()
    if look is None or look.lost:
        raise BeginAnewError(f"the slot {slot.name} gives no changes any more")
    if look.held is None or look.held <= most_held:
        return look
    oldest = await slot.oldest_transaction()
    because = f"; the oldest open transaction there is {oldest}" if oldest else ""
    raise GivenUpError(
        f"the change stream is given up, and its slot dropped: the {end} kept {look.held:,} bytes of its log for "
        f"it, more than --max-wal{because}. All tables are followed by their rows' versions from here on"
    )
