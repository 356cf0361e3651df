"""Writes that go to the authority and nowhere else: for a process that the environment keeps at one end."""

from collections.abc import Sequence
from typing import Any

from app.cutover.stages import Stage
from app.models import Base
from app.stores.backend import Backend
from app.stores.codec.json_rows import Values
from app.stores.outgoing_write import OutgoingWrite


class DirectWriter:
    """An `AuthorityWriter` of app.cutover.staged_backend that mirrors nothing."""

    pending = 0
    spooled = 0
    problem: str | None = None

    def __init__(self, authority: Backend) -> None:
        self._authority = authority

    async def start(self) -> None:
        """Nothing runs in the background."""

    async def upsert(self, stage: Stage, model: type[Base], rows: Sequence[Values], write: OutgoingWrite) -> list[Any]:
        return await self._authority.upsert(model, rows, write)

    async def close(self) -> None:
        """Nothing is left."""
