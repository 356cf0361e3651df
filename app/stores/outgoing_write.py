"""Whether one write of a caller's has left for its store: the store says so here, and the executor asks."""

from app.errors import UnavailableError


class OutgoingWrite:
    """Handed down with a write from the call to the store, which says here when it leaves.

    Attributes:
        has_left: a lost answer leaves the write's outcome unknown. Before that nothing can have been written.
    """

    __slots__ = ("_is_given_up", "has_left")

    def __init__(self) -> None:
        self.has_left = False
        self._is_given_up = False

    def leave(self) -> None:
        """To be called by a store right before the write is sent.

        Raises:
            UnavailableError: it was given up before, and must not be sent.
        """
        if self._is_given_up:
            raise UnavailableError("the write was given up before it was sent")
        self.has_left = True

    def was_refused(self) -> None:
        """To be called when the store did nothing of it, so that it can be tried again, perhaps elsewhere."""
        self.has_left = False

    def give_up(self) -> bool:
        """Keep it from leaving; False where it has left already."""
        self._is_given_up = True
        return not self.has_left
