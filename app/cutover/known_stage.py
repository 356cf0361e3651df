"""What this process knows of the stage: the row as it was last read, or what the environment fixes beside it."""

import logging
from collections.abc import Callable

from app.cutover.failover_mark import FailoverMark, MoveLostError
from app.cutover.stages import Stage, Store
from app.errors import UnavailableError
from app.flags import Flags
from app.state.cutover.processes import FOLLOWS
from app.state.cutover.stage import StageRow

logger = logging.getLogger("app.data_layer")


class KnownStage:
    """The stage that a process goes by.

    Args:
        mark: what the process has seen of failovers.
        at_stage: told each stage that this process comes to.

    Attributes:
        row: as it was last read; None: never.
        current: None: it is not known yet.
        lost: why the last look failed; None: it went well.
        went_back: why the row that was last read is not gone by; None: it is.
    """

    def __init__(self, flags: Flags, mark: FailoverMark, at_stage: Callable[[Stage], None]) -> None:
        self._flags = flags
        self._mark = mark
        self._at_stage = at_stage
        self.row: StageRow | None = None
        # These two stages need nothing of the target's row before they write: `off` is as it was before there was a
        # cutover, and PostgreSQL's writes read the row themselves.
        fixed = flags.stage
        self.current = fixed if fixed and (fixed is Stage.OFF or fixed.authority is Store.POSTGRES) else None
        self.lost: str | None = None
        self.went_back: str | None = None

    def readable(self) -> Stage:
        """The stage whose authority is read.

        Raises:
            UnavailableError: it is not known, or the rows are on another server.
        """
        # A process that the environment keeps at Supabase's stages does not need the row.
        if self.row is not None and self._flags.stage is not Stage.OFF and self.row.moved_out:
            raise UnavailableError(self.row.moved_out)
        if self.current is None:
            raise UnavailableError(f"where the cutover stands is not known yet: {self.lost or 'it was not read'}")
        return self.current

    def writable(self) -> Stage:
        """The stage that a write may begin at.

        Raises:
            UnavailableError: as `readable`; or the row went back, or speaks against the stage.
        """
        stage = self.readable()
        if self.went_back:
            raise UnavailableError(self.went_back)
        if contradiction := self.contradiction():
            raise UnavailableError(f"{contradiction}; nothing was written")
        return stage

    def contradiction(self, *, strictly: bool = False) -> str | None:
        """Why the fixed stage cannot be written at beside the row's; strictly: why it should not be chosen."""
        fixed = self._flags.stage
        if fixed is None or self.row is None or not self.row.managed or self.row.stage is fixed:
            return None
        if not strictly and self.row.stage.authority is fixed.authority:
            return None
        return (
            f"{self._flags.chosen_by} fixes the stage {fixed}, and the cutover stands at {self.row.stage}; "
            f"set {FOLLOWS} to follow it"
        )

    def stage_of(self, row: StageRow) -> Stage:
        """The stage that a row means for this process."""
        if self._flags.stage is not None:
            return self._flags.stage
        return row.stage if row.managed else Stage.OFF

    def take(self, row: StageRow, newest: StageRow | None) -> StageRow | None:
        """Go by a row that was read, or by a newer one; None: it went back, and nothing changes.

        Args:
            newest: what was the newest row before. A write may have read a newer one meanwhile.
        """
        if self.lost is not None and self.row is not None:
            logger.warning("the stage of the cutover can be read again: %s", row.stage)
        self.lost = None
        was_back, self.went_back = self.went_back, None
        try:
            self.row = self._mark.see_move(row, newest)
        except MoveLostError as error:
            self.went_back = str(error)
            if was_back is None:
                logger.error("%s", error)
            return None
        stage = self.stage_of(self.row)
        if stage is not self.current:
            logger.info("the cutover stands at %s", stage)
            self.current = stage
            self._at_stage(stage)
        return self.row

    def lose(self, reason: str) -> None:
        """A look failed: the process stays where it is."""
        # `off` and the plain switch need no row, and may have none.
        needs_it = self._flags.stage is not Stage.OFF and (self._flags.stage is None or self._flags.names_a_stage)
        if self.lost is None and (self.row is not None or needs_it):
            kept = f"; this process stays at {self.current}" if self.current else ""
            logger.warning("the stage of the cutover cannot be read%s: %s", kept, reason)
        self.lost = reason
