"""The log that is kept for a slot, and the end of a stream for which too much is kept."""

from app.migration.stream.followed import BeginAnewError, GivenUpError
from app.migration.stream.source.slot import SlotLook, StreamSlot


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
