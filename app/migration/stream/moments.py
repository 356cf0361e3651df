"""Moments of a stream: which rows mirrors wrote after a change was committed, and when the target has all of a moment.

Rows that mirrors wrote later are read from the source anew.

A mirror reads the source when it writes, and so may have brought a newer row than a stream that lags. It leaves the
traces that a sync asks for (see app.migration.load.mirrored_meanwhile). They tell what was written since a moment of
the target. Such moments are taken one after the other, each with a place in the source's log that was read after it:
a change whose commit record begins at that place or later was committed after the moment.
"""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import inf
from time import monotonic

from psycopg import AsyncConnection

from app.common.keys import Key
from app.cutover.tables import METHODS_TABLES, OWN_AUTHORITY
from app.migration.keys.keyed_rows import page_of_keys
from app.migration.load.mirrored_meanwhile import Moment, outdated, this_moment
from app.migration.load.table_authority import Authority, read_authority
from app.migration.stream.source.slot import StreamSlot, lsn_text
from app.migration.sync.options import SyncOptions
from app.migration.tables.copy_table import CopyTable
from app.state import streams
from app.state.runs.synced_tables import LookBegun, begin_look, end_look

_MOST = 1000  # moments that are remembered; what was written since an older one counts as not known


@dataclass(frozen=True, slots=True)
class _Placed:
    """The moments of the tables, and a place in the log that was read after them."""

    of: dict[str, Moment]
    lsn: int


class Moments:
    """Moments of the target, of the tables that mirrors may write; and where the cutover stands.

    Args:
        connection: to the target.
        tables: that the stream follows.

    Attributes:
        authority: where the cutover stood at the last of them.
    """

    def __init__(self, connection: AsyncConnection, tables: Sequence[CopyTable]) -> None:
        self._connection = connection
        names = {*METHODS_TABLES, *OWN_AUTHORITY}
        self._tables = sorted((one for one in tables if one.name in names), key=lambda one: one.name)
        self._placed: deque[_Placed] = deque(maxlen=_MOST)
        self.authority = Authority()

    async def take(self) -> dict[str, Moment]:
        """The moments of now, for `place`; outside of a transaction."""
        if not self._tables:
            return {}
        self.authority = await read_authority(self._connection)
        return {one.name: await this_moment(self._connection, one, self.authority) for one in self.mirrored}

    def place(self, taken: dict[str, Moment], lsn: int) -> None:
        """Keep moments, with the place where the source's log ended after they were taken."""
        if taken:
            self._placed.append(_Placed(taken, lsn))

    @property
    def mirrored(self) -> list[CopyTable]:
        """The tables that mirrors may have been writing at the last moment, in the order in which they are held."""
        return [table for table in self._tables if self.authority.mirrored(table.name) is not None]

    @property
    def movable(self) -> list[CopyTable]:
        """The tables that a command may move alone, in the order in which they are kept where they are."""
        return [table for table in self._tables if self.authority.managed and table.name in OWN_AUTHORITY]

    async def newer(
        self, table: CopyTable, keys: Collection[Key], put: Collection[Key], lsn: int, now: Authority
    ) -> set[Key]:
        """Those of some keys whose rows a mirror may have written, or deleted, after a place in the source's log.

        Asked in a transaction that has the table to itself.

        Args:
            put: those of the keys whose rows are to be there.
            lsn: where the commit record of the first change begins.
            now: where the cutover stands in this transaction.
        """
        if not keys or now.mirrored(table.name) is None:
            return set()
        while len(self._placed) > 1 and self._placed[1].lsn <= lsn:
            self._placed.popleft()
        before = self._placed[0] if self._placed and self._placed[0].lsn <= lsn else None
        moment = before.of.get(table.name) if before else None
        if moment is None or moment.authority.moved != now.moved:
            moment = Moment(now, None, (), (0, 0))  # not known: whatever is there may be a mirror's
        old = await outdated(self._connection, table, page_of_keys(keys), moment, now)
        return set(old.written | (old.absent & set(put)))


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
