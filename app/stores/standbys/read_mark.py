"""How new a standby must be to answer this process: the mark, an LSN on a timeline.

A commit is seen on a standby once its replay LSN is at or past the end of the commit's record. So an insert LSN that
the primary gives after a commit is a mark for it, also where `synchronous_commit` is off and it was not flushed.

The replay LSN that a standby gives after a statement is no bound for what the statement saw: one commit more is seen
just before its record counts as replayed. That is the very next record, so another standby must be past the LSN, and
not only at it, unless the first standby had received nothing more.
"""

from __future__ import annotations

from typing import NamedTuple

from app.state.wal import WalPlace

_SEVERAL = object()


class Mark(NamedTuple):
    """What a standby must have replayed.

    Attributes:
        shown_by: the only standby that may answer at `lsn` itself, having shown what may be one record more; None: any.
    """

    timeline: int
    lsn: int
    shown_by: object | None = None

    def allows(self, at: WalPlace, standby: object) -> bool:
        """Whether the standby, being at this position or later, has all that the mark stands for."""
        if at.timeline != self.timeline:
            return False
        return at.lsn > self.lsn or (at.lsn == self.lsn and self.shown_by in {None, standby})


class ReadMark:
    """The mark of one process. It only rises, but for a new timeline, which begins it anew.

    Attributes:
        times_lost: how often it was lost, to be asked before the primary is, and given to `found`.
    """

    def __init__(self) -> None:
        self._mark: Mark | None = None
        self.times_lost = 1  # it is not known at the start
        self._found = 0

    @property
    def current(self) -> Mark | None:
        """The mark; None while it is not known, so that only the primary may answer."""
        return self._mark if self._found == self.times_lost else None

    def lose(self) -> None:
        """There may be a write whose position is not known: it is found by asking the primary where it is."""
        self.times_lost += 1

    def found(self, at: WalPlace, times_lost: int) -> None:
        """Where the primary was, asked after the mark had been lost so often; changes nothing where it is known."""
        if self._found < times_lost or self._mark is None or at.timeline > self._mark.timeline:
            self.reach(at)
            self._found = max(self._found, times_lost)

    def reach(self, at: WalPlace) -> None:
        """Raise it to a position of the primary's, after a write or as a handover left it."""
        mark = self._mark
        if mark is None or (at.timeline, at.lsn) > (mark.timeline, mark.lsn):
            self._mark = Mark(*at)

    def shown(self, at: WalPlace, standby: object, *, is_all: bool) -> bool:
        """Raise it to what a standby has answered.

        Args:
            at: where the standby was after the statement.
            is_all: it had received nothing more by then.

        Returns:
            Whether the answer counts: a new timeline has not begun meanwhile.
        """
        mark = self._mark
        if mark is None or at.timeline != mark.timeline:
            return False
        if at.lsn > mark.lsn:
            self._mark = Mark(*at, None if is_all else standby)
        elif at.lsn == mark.lsn:
            if not is_all:
                self._mark = Mark(*at, standby if mark.shown_by in {None, standby} else _SEVERAL)
            elif mark.shown_by is standby:
                self._mark = Mark(*at)
        return True
