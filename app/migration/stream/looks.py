"""When all that the source had committed at a moment is in the target, for the gates of a cutover and for watchers."""

from collections.abc import Sequence
from time import monotonic

from psycopg import AsyncConnection

from app.migration.stream.source.slot import StreamSlot
from app.migration.sync.options import SyncOptions
from app.migration.tables.copy_table import CopyTable
from app.state.runs.synced_tables import LookBegun, begin_look, end_look


class Looks:
    """Looks at the source, as a round by xmin makes them: one after another, each as long as it takes.

    A commit is in the log at once, and flushed a moment later where its session does not wait for that. So a look ends
    with a peek that began so much later, and that left nothing out.

    Attributes:
        unexplained: tables with changes since the look began that no mirror explains.
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
        self._ends_after = 0.0
        self.unexplained: set[str] = set()

    async def begin(self) -> None:
        """Begin a look, unless one is under way."""
        if self._begun:
            return
        self.unexplained.clear()
        for table in self._tables:
            self._begun[table.name] = await begin_look(self._connection, table.name, self._options.settles_after)
        self._ends_after = monotonic() + max(self._options.interval, await self._slot.flushed_after())

    async def peeked(self, began: float) -> None:
        """A peek that began then, on the clock `monotonic`, has left nothing out, and all of it is applied."""
        if not self._begun or began < self._ends_after:
            return
        for name, begun in self._begun.items():
            aged = not self._options.follow or name in self.unexplained
            await end_look(self._connection, self._source, name, begun, aged=aged)
        self._begun.clear()
