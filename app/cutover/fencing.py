"""The guard of every write to PostgreSQL: it reads the stage under a lock, and records what was written in the outbox.

A move of the stage waits for the transactions that hold the lock; those that come later see the new stage.
"""

from collections.abc import Sequence
from time import monotonic

import psycopg

from app.common.driver_errors import without_values
from app.common.keys import Key
from app.cutover.failover_mark import FailoverMark
from app.cutover.stages import Stage, Store
from app.errors import AuthorityMovedError, StoreTimeoutError, UnavailableError
from app.state.cutover import outbox
from app.state.cutover.stage import can_read_stage
from app.state.fetching import Connection
from app.stores.codec.json_rows import encode

_LOOK_AGAIN = 1.0  # seconds between looks for a row that was not there
_GONE = {"42P01", "3F000", "42501"}  # no such table, no such schema, no right to it
_ROLLED_BACK = "40001"  # the code for a call that can be repeated
NO_STAGE = "the target has no stage to read, or the role may not; `botdata upgrade` makes it"


class WriteGuard:
    """Asked before each write to PostgreSQL, which it records in the outbox.

    Args:
        fixed: the stage that the environment fixed, which holds while the row is not managed; None: the row's.
        process: the name of this process, for the outbox.
        mark: what this process has seen of failovers.
    """

    def __init__(self, fixed: Stage | None = None, process: str = "", mark: FailoverMark | None = None) -> None:
        self._fixed = fixed
        self._mark = mark or FailoverMark()
        self._process = process
        self._is_there = False
        self._looked = float("-inf")
        self._suspected = float("-inf")  # when something of it was last found to be missing

    async def enter(self, connection: Connection, table: str, keys: Sequence[Key]) -> None:
        """Lock the stage until the transaction ends, and leave an entry in the outbox for each key to be written.

        Raises:
            AuthorityMovedError: Supabase is the store to write to; nothing may be written here.
            UnavailableError: there is no row that says which is, nor where to record, or a failover has made the server
                or the row an old one, or the tables are another server's; nothing may be written either.
            StoreTimeoutError: the row, or the outbox, is not there any more or not to be used; the transaction can be
                repeated, and says then what is missing.
        """
        if not self._is_there and monotonic() - self._looked > _LOOK_AGAIN:
            self._is_there = await can_read_stage(connection)
            self._looked = monotonic()
        if not self._is_there:
            if self._fixed in {None, Stage.COMPLETE}:
                return  # before there was a cutover, or when all of it has been taken away
            raise UnavailableError(f"{NO_STAGE}; nothing was written")
        try:
            row = await outbox.record_write(connection, self._process, table, encode(keys), fixed=self._fixed)
        except psycopg.Error as error:
            is_gone = error.sqlstate in _GONE
            # The row was missed a moment ago, and has been found since: then it is something else that is missing now.
            if not is_gone or (self._is_there and monotonic() - self._suspected < _LOOK_AGAIN):
                raise
            self._is_there, self._looked, self._suspected = False, float("-inf"), monotonic()
            raise StoreTimeoutError(
                "the cutover's tables, or the right to them, were taken away meanwhile; the call can be repeated",
                sqlstate=_ROLLED_BACK,
            ) from without_values(error)
        self._mark.check(row)
        if row.moved_out:
            raise UnavailableError(f"{row.moved_out}; nothing was written")
        stage = row.stage if row.managed else self._fixed
        if stage is not None and stage.authority is not Store.POSTGRES:
            raise AuthorityMovedError(
                f"the cutover stands at {stage}, where writes go to Supabase first; nothing was written"
            )
