"""What this process has seen of failovers, so that it goes by no older server and no older row of the stage.

A failover to a standby that lacked the last transactions takes the stage's row back to an earlier move. And an old
primary may come back that does not know of the failover. PostgreSQL tells neither: the process has to remember.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from app.errors import UnavailableError
from app.state.cutover.stage import StageRow


class StaleServerError(UnavailableError):
    """The server is an old primary, or a standby; nothing was written."""


class MoveLostError(UnavailableError):
    """The stage's row is older than the one that this process has read before; nothing was written."""


@dataclass(slots=True)
class _Servers:
    """What was seen of the servers, whichever salon's rows were asked for."""

    timeline: int = 0
    risen_at: float = float("-inf")


class FailoverMark:
    """The highest timeline that a process has met, and the last move of the stage that it has read.

    Args:
        on_failover: called each time that the timeline rises.

    Attributes:
        row: the newest row of the stage that was read; None: none was.
    """

    def __init__(self, on_failover: Callable[[], None] = lambda: None) -> None:
        self._servers = _Servers()
        self._on_failover = on_failover
        self.row: StageRow | None = None

    def beside(self) -> "FailoverMark":
        """The mark of another salon on the same servers: their timeline is one, each stage's row its own."""
        other = FailoverMark(self._on_failover)
        other._servers = self._servers
        return other

    @property
    def timeline(self) -> int:
        """The highest one; 0 before any was seen."""
        return self._servers.timeline

    @property
    def risen_at(self) -> float:
        """When a failover was last seen, by the monotonic clock; connections from before may lead to an old primary."""
        return self._servers.risen_at

    def check(self, row: StageRow) -> None:
        """Go by a row that was read just now, in the transaction that is to write.

        Raises:
            StaleServerError, MoveLostError: it is older than what was seen before.
        """
        self.see_server(row.server_timeline)
        self.see_move(row, self.row)  # it is locked, so that none is newer

    def see_server(self, timeline: int | None) -> None:
        """Go by a server's timeline; None: it is a standby.

        Raises:
            StaleServerError: a lower one, so that the server must not be written to.
        """
        if timeline is None:
            raise StaleServerError("the server is a standby, which takes no writes; nothing was written")
        if timeline < self.timeline:
            raise StaleServerError(
                f"the server is an old primary: it is on timeline {timeline}, and a failover has begun timeline "
                f"{self.timeline}; nothing was written. Stop that server, or take it out of DATABASE_URL"
            )
        if timeline > self.timeline:
            was, self._servers.timeline = self.timeline, timeline
            if was:
                self._servers.risen_at = monotonic()
                self._on_failover()

    def see_move(self, row: StageRow, known: StageRow | None) -> StageRow:
        """Go by a row of the stage; the newest that is known.

        Args:
            known: what was the newest when this row was asked for. A newer one may have come meanwhile.

        Raises:
            MoveLostError: a failover has lost a move that this process knew of.
        """
        if known is not None and _age(row) < _age(known):
            raise MoveLostError(
                f"a failover has lost move {known.moves} of the cutover, to {known.stage}: the row of the stage says "
                f"{row.stage}, of move {row.moves}; nothing was written. Look at `botdata cutover status`, then move "
                "the stage again: `botdata cutover advance` or `back`, with --force REASON"
            )
        if self.row is None or _age(row) >= _age(self.row):
            self.row = row
        return self.row


def _age(row: StageRow) -> tuple[int, int]:
    """Orders moves: one on a later timeline was made by a person who knew what the failover had left."""
    return (row.place.timeline if row.place else 0, row.moves)
