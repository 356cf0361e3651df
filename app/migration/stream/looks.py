"""Looks of the change stream at the source: when one has begun, and when all before it is applied."""

from collections.abc import Sequence
from math import inf
from time import monotonic

from psycopg import AsyncConnection

from app.migration.stream.source.slot import StreamSlot, lsn_text
from app.migration.sync.options import SyncOptions
from app.migration.tables.copy_table import CopyTable
from app.state import streams
from app.state.runs.synced_tables import LookBegun, begin_look, end_look


class StreamLooks:
    """Looks at the source, as a round by xmin makes them: one after another, each as long as it takes.

    A look begins with the end of the source's log, and ends when all before that is applied. Where nobody writes, that
    end may come to disk much later. So it also ends with a peek that left nothing out, and that began when a commit was
    on disk whose session did not wait for that.

    Attributes:
        unexplained: tables with changes since the look began that no mirror explains.
        hurried: somebody waits for the next look, so that it is not put off.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        source: str,
        slot: StreamSlot,
        tables: Sequence[CopyTable],
        options: SyncOptions,
    ) -> None:
        self._connection = connection
        self._source = source
        self._slot = slot
        self._tables = tables
        self._options = options
        self._begun: dict[str, LookBegun] = {}
        self._lsn = 0
        self._due_at = 0.0
        self._flushed_at = 0.0
        self.unexplained: set[str] = set()
        self.hurried = False

    async def begin(self) -> None:
        """Begin a look, unless one is under way."""
        if self._begun:
            return
        self.unexplained.clear()
        for table in self._tables:
            self._begun[table.name] = await begin_look(self._connection, table.name, self._options.settles_after)
        _, self._lsn = await self._slot.places()
        self._flushed_at = monotonic() + await self._slot.flushed_after()
        self._due_at = monotonic() + self._options.interval

    async def passed(self, lsn: int, peeked: float = -inf) -> None:
        """All before a place in the source's log is applied.

        Args:
            peeked: when the last peek began that left nothing out, on the clock `monotonic`.
        """
        if not self._begun or not (self.hurried or monotonic() >= self._due_at or peeked == inf):
            return
        if lsn < self._lsn and peeked < self._flushed_at:
            return
        for name, begun in self._begun.items():
            aged = not self._options.follow or name in self.unexplained
            await end_look(self._connection, self._source, name, begun, aged=aged)
        first = min(begun.began_at for begun in self._begun.values())
        await streams.note_look(self._connection, self._slot.name, first, lsn_text(self._lsn))
        self._begun.clear()
