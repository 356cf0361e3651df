"""A salon's backend that is opened at its first call, and rests while nobody calls.

An open one costs memory, and its share of the looks at the stages. One that rests costs neither: it has said goodbye,
as a process that ends, and looks at its stage before its next call is answered. So no call goes by an old stage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

from app.cutover.staged_backend import StagedBackend
from app.errors import UnavailableError
from app.models import Base
from app.stores.codec.json_rows import Values
from app.stores.outgoing_write import OutgoingWrite


class RestingBackend:
    """See `Backend` for the methods.

    Args:
        open_it: opens the salon's backend.
    """

    def __init__(self, open_it: Callable[[], Awaitable[StagedBackend]]) -> None:
        self._open_it = open_it
        self._backend: StagedBackend | None = None
        self._calls = 0
        self._called_at = monotonic()
        self._turn = asyncio.Lock()
        self._opening: asyncio.Task[StagedBackend] | None = None
        self._is_closed = False

    @property
    def is_open(self) -> bool:
        """Whether it does not rest, or just goes to."""
        return self._backend is not None or self._turn.locked()

    async def open(self) -> StagedBackend:
        """The backend, opened where it rests.

        Raises:
            SettingsError: the salon's settings, or its stage, do not allow it.
        """
        if self._backend is not None:
            return self._backend
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # perhaps nobody asks
        # It is for other callers too, whoever is cancelled meanwhile.
        return await asyncio.shield(self._opening)

    async def _open(self) -> StagedBackend:
        async with self._turn:
            self._refuse_if_closed()
            if self._backend is None:
                backend = await self._open_it()
                try:
                    self._refuse_if_closed()  # meanwhile, by one who perhaps did not wait
                except UnavailableError:
                    await backend.close()
                    raise
                self._backend = backend
                self._called_at = monotonic()
            return self._backend

    async def rest(self, after: float) -> None:
        """Close it where nobody has called for so many seconds, and nothing is left to be done."""
        async with self._turn:
            backend = self._backend
            if backend is None or self._calls or monotonic() - self._called_at < after or not backend.is_idle:
                return
            self._backend = None  # a call that comes from here on waits, and looks at the stage anew
            try:
                if await backend.membership.leave():
                    await backend.close()
                    backend = None
            except Exception:  # what is closed by half is not to answer; the next call opens another one
                backend = None
                raise
            finally:  # a backend that could not say goodbye goes on: a process that falls silent would stop every move
                self._backend = backend

    async def read(self, method: str, arguments: Mapping[str, Any]) -> Any:
        with self._called():
            return await (self._backend or await self.open()).read(method, arguments)

    async def upsert(self, model: type[Base], rows: Sequence[Values], write: OutgoingWrite) -> list[Any]:
        with self._called():
            return await (self._backend or await self.open()).upsert(model, rows, write)

    async def ping(self) -> None:
        with self._called():
            await (self._backend or await self.open()).ping()

    async def close(self) -> None:
        """End; it is not opened again."""
        self._is_closed = True
        async with self._turn:
            backend, self._backend = self._backend, None
            if backend is not None:
                await backend.close()

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise UnavailableError("the data layer is closed")

    @contextmanager
    def _called(self) -> Iterator[None]:
        """It does not go to rest meanwhile."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            self._called_at = monotonic()
