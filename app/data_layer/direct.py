"""Calls that go to the authority and nowhere else: where no cutover is under way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from app.cutover.stages import Stage, Store

if TYPE_CHECKING:
    from app.data_layer.backend import Backend
    from app.json_rows import Values
    from app.models import Base

T = TypeVar("T")


class DirectWriter:
    """The `Writer` that mirrors nothing."""

    pending = 0
    spooled = 0
    problem: str | None = None

    def __init__(self, authority: Backend) -> None:
        self._authority = authority

    async def start(self) -> None:
        """Nothing runs in the background."""

    async def upsert(self, stage: Stage, model: type[Base], rows: Sequence[Values]) -> list[Any]:
        return await self._authority.upsert(model, rows)

    async def close(self) -> None:
        """Nothing is left."""


class DirectReads:
    """The `Comparisons` that compare nothing."""

    def __init__(self, stores: Mapping[Store, Backend]) -> None:
        self._stores = stores

    async def start(self) -> None:
        """Nothing runs in the background."""

    async def read(
        self, stage: Stage, call: Callable[[Backend], Awaitable[T]], method: str, arguments: Mapping[str, Any]
    ) -> T:
        return await call(self._stores[stage.authority])

    async def close(self) -> None:
        """Nothing is left."""
