"""Waits until what was on its way between the stores, when an answer differed, has arrived."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime
from time import monotonic

from app.cutover.shadow.diff import RowKey
from app.cutover.stages import Stage
from app.cutover.tables import METHODS_TABLES
from app.state.cutover.on_the_way import OnTheWay, WaitingKey, look
from app.state.cutover.stage import read_stage_row
from app.state.streams import clock
from app.stores.codec.json_rows import encode
from app.stores.postgres.database import Database

_FIRST_PAUSE = 0.01  # seconds between looks
_LONGEST_PAUSE = 0.2
_PATIENCE = 1.0  # with a row that is noted, before it is left out


class UnsettledError(Exception):
    """It cannot be known whether the stores should be the same; the message is one or two words."""


class Settling:
    """Of one look at both stores, and of what was on its way between them then.

    Args:
        keys: of the rows that matter.
        whole: tables that matter as a whole, since it is not known which rows do.
        tables: those that the call reads.
    """

    def __init__(
        self, database: Database, keys: Sequence[RowKey], whole: Collection[str], tables: Collection[str]
    ) -> None:
        self._database = database
        self._keys = encode([[key.table, list(key.key)] for key in keys])
        self._whole = sorted(whole)
        self._own = sorted(set(tables) - METHODS_TABLES)
        self._since: datetime | None = None
        self._stage: tuple[str, datetime | None] | None = None

    async def begin(self, stage: Stage) -> None:
        """To be called before the stores are asked.

        Raises:
            UnsettledError: the cutover stands at another stage by now.
        """
        async with self._database.statements() as connection:
            row = await read_stage_row(connection)
        if row.managed and row.stage is not stage:
            raise UnsettledError("stage moved")
        self._stage = row.stage, row.moved_at

    async def on_their_way(self) -> set[RowKey]:
        """The rows that are noted, or in the outbox, now."""
        return {RowKey(table, key) for _, _, table, key in (await self._look()).waiting}

    async def arrived(self) -> set[RowKey]:
        """Wait until all that was written before this call has reached both stores.

        To be called after the stores were asked.

        Returns:
            Those that did not within a second: rows that are noted and not repaired yet, or written all the time.

        Raises:
            UnsettledError: a table's writer has moved to PostgreSQL, so that nothing brings its rows to Supabase.
        """
        async with self._database.statements() as connection:
            self._since = await clock(connection)
        awaited: set[WaitingKey] | None = None
        pause = _FIRST_PAUSE
        patient_until = float("inf")
        while True:
            seen = await self._look()
            if seen.is_ours:
                raise UnsettledError("own authority")
            if awaited is None and not seen.late:
                awaited = seen.waiting  # what comes later was written later
                patient_until = monotonic() + _PATIENCE
            if awaited is not None and not seen.is_behind:
                left = seen.waiting if self._whole else seen.waiting & awaited
                if not left or monotonic() > patient_until:
                    return {RowKey(table, key) for _, _, table, key in left}
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def stood(self) -> bool:
        """Whether the stage stood still since the beginning, and no row of a table that matters whole is on its way.

        Raises:
            UnsettledError: the stage moved.
        """
        seen = await self._look()
        if (seen.stage, seen.moved_at) != self._stage:
            raise UnsettledError("stage moved")
        return not (self._whole and seen.waiting)

    async def _look(self) -> OnTheWay:
        async with self._database.statements() as connection:
            return await look(connection, self._keys, self._whole, self._own, self._since)
