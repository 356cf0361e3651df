"""Finding what is refused among many: what is refused together is attempted again in halves."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def in_halves(items: Sequence[T], attempt: Callable[[Sequence[T]], Awaitable[Sequence[T]]]) -> None:
    """Attempt all of the items together, and halves of halves of what is refused, in their order.

    Args:
        attempt: gives the items that are to be attempted in halves; none where all is done, or one item is left.
    """
    refused = await attempt(items)
    if not refused:
        return
    middle = len(refused) // 2
    for half in (refused[:middle], refused[middle:]):
        await in_halves(half, attempt)
