"""Moments of the target, by which the stream knows the rows that a mirror wrote after a change was committed.

Such rows are read from the source anew.

A mirror reads the source when it writes, and so may have brought a newer row than a stream that lags. It leaves the
traces that a sync asks for (see app.migration.load.mirrored_meanwhile). They tell what was written since a moment of
the target. Such moments are taken one after the other, each with a place in the source's log that was read after it:
a change whose commit record begins at that place or later was committed after the moment.
"""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from psycopg import AsyncConnection

from app.common.keys import Key
from app.cutover.tables import METHODS_TABLES, OWN_AUTHORITY
from app.migration.keys.keyed_rows import page_of_keys
from app.migration.load.mirrored_meanwhile import Moment, outdated, this_moment
from app.migration.load.table_authority import Authority, read_authority
from app.migration.tables.copy_table import CopyTable

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
