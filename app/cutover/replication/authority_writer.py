"""Writes that go to an authority: to it alone, or by those who inherit this, to the other store after it."""

from collections.abc import Sequence
from typing import Any

from app.cutover.stages import Stage
from app.models import Base
from app.stores.backend import Backend
from app.stores.codec.json_rows import Values
from app.stores.outgoing_write import OutgoingWrite


class AuthorityWriter:
    """Mirrors nothing, for a process that the environment keeps at one end."""

    def __init__(self, authority: Backend) -> None:
        self._authority = authority

    @property
    def pending(self) -> int:
        """Mirrors that have not settled."""
        return 0

    @property
    def spooled(self) -> int:
        """Notes in the spool file or in memory, not in PostgreSQL."""
        return 0

    @property
    def problem(self) -> str | None:
        """What the owner should know, in a sentence."""
        return None

    async def start(self) -> None:
        """Begin what runs in the background."""

    async def upsert(self, stage: Stage, model: type[Base], rows: Sequence[Values], write: OutgoingWrite) -> list[Any]:
        """The authority's answer; the mirror is waited for no longer than a small time.

        Raises:
            AuthorityMovedError: the stage has moved; nothing was written.
            DataError: the authority's own.
        """
        return await self._authority.upsert(model, rows, write)

    async def close(self) -> None:
        """End what still runs; what is left is written down already."""
