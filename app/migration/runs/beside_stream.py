"""A verify beside a change stream: a row that differs is compared again once the stream has passed the look at it.

So a difference is one that the stream has left, and not one that it was about to bring.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from time import monotonic
from typing import Self

from psycopg import AsyncConnection

from app.state.streams import StreamLook, clock, read_looks, read_streams
from app.state.tool_schema import is_current, may_read

_PATIENCE = 30.0  # seconds for a stream to pass a look; it takes about two
_BETWEEN = 0.2


class BesideStream:
    """The change stream from a source into the target.

    Attributes:
        stands: in words, how far it is, where it has not passed a look in time; then it is waited for no more.
    """

    def __init__(
        self, connection: AsyncConnection, name: str, tables: frozenset[str], tell: Callable[[str], None]
    ) -> None:
        self._connection = connection
        self._name = name
        self._tell = tell
        self.tables = tables
        self.stands: str | None = None

    @classmethod
    async def find(cls, connection: AsyncConnection, source: str, tell: Callable[[str], None]) -> Self | None:
        """The stream from a source, by its label; None where there is none.

        Args:
            tell: told where it stands still.
        """
        if not (await may_read(connection, "streams") and await may_read(connection, "version")):
            return None
        if not await is_current(connection):
            return None
        known = [one for one in await read_streams(connection) if one.source == source]
        return cls(connection, known[0].name, frozenset(known[0].tables), tell) if known else None

    async def now(self) -> datetime:
        """The moment up to which the stream is to come, for `passed`."""
        return await clock(self._connection)

    async def passed(self, moment: datetime) -> bool:
        """Wait until all that the source had committed at a moment is in the target; False where it stands still."""
        until = monotonic() + _PATIENCE
        while self.stands is None:
            look = await self._look()
            if look is None:
                self.stands = f"the change stream {self._name} is gone"
            elif look.looked_at is not None and look.looked_at >= moment:
                return True
            elif monotonic() >= until or look.age is None or look.age > _PATIENCE:
                self.stands = look.told()
            else:
                await asyncio.sleep(_BETWEEN)
                continue
            self._tell(f"{self.stands}; rows that differ may only be late")
        return False

    async def _look(self) -> StreamLook | None:
        looks = await read_looks(self._connection, self.tables)
        return next((one for one in looks if one.name == self._name), None)
