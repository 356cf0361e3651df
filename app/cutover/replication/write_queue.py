"""Writes that the other store does not have yet: they wait, are brought in batches of one table, and wait again."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from app.common.deadlines import cancel, happens
from app.common.keys import Key
from app.common.quiet import PATIENCE, Calls

logger = logging.getLogger("app.data_layer.mirrors")

MOST_KEYS = 200  # of several writes in a batch; each is a lock, and PostgreSQL has room for some thousands
ENDING = 1.0  # seconds, at the end, for what is cancelled, and to write down what is left
_LOOK = 0.02  # seconds between looks whether all is brought, at the end


@dataclass(eq=False, slots=True)
class WaitingWrite:
    """A write whose rows are to be brought.

    Attributes:
        keys: those of its rows that are left.
        is_alone: it goes in a batch of its own, since a row of it was refused.
        settled: set when nothing is left to be done for it.
    """

    table: str
    keys: list[Key]
    is_alone: bool = False
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_ready(self) -> bool:
        """Whether it can be brought when it is due."""
        return True

    @property
    def is_pending(self) -> bool:
        """Whether it is this process's to bring."""
        return not self.settled.is_set()

    async def wait(self, seconds: float) -> None:
        """Until nothing is left to be done for it, so many seconds at most."""
        await happens(self.settled, seconds)


W = TypeVar("W", bound=WaitingWrite)


class WriteQueue(Generic[W]):
    """Waiting writes; a key is in one batch at a time.

    Args:
        bring: brings a batch, settles the writes that are done, and adds those again that are not.
        at_once: batches that are brought at a time.
        may_bring: whether the other store can be asked.
        calls: for a moment without which a write that is due waits a little; None: it does not wait.
    """

    def __init__(
        self,
        bring: Callable[[list[W]], Coroutine[Any, Any, None]],
        *,
        at_once: int,
        may_bring: Callable[[], bool],
        calls: Calls | None = None,
    ) -> None:
        self._calls = calls
        self._bring = bring
        self._at_once = at_once
        self._may_bring = may_bring
        self._waiting: dict[W, float] = {}  # with the moment at which it is due
        self._running: dict[asyncio.Task[None], list[W]] = {}

    @property
    def pending(self) -> set[W]:
        """Those that wait or are being brought."""
        return {write for batch in (self._waiting, *self._running.values()) for write in batch if write.is_pending}

    def holds(self, table: str, key: Key) -> bool:
        """Whether a key is to be brought, or just is."""
        return any(write.table == table and key in write.keys for write in self.pending)

    def add(self, write: W, wait: float = 0.0) -> None:
        """Bring a write as soon as may be, so many seconds from now at the earliest."""
        if not write.keys:
            write.settled.set()
            return
        self._waiting[write] = time.monotonic() + wait
        if self._calls is not None:
            self._calls.when_quiet(self.pump)
            wait += PATIENCE
        if wait:
            asyncio.get_running_loop().call_later(wait, self.pump)
        self.pump()

    def pump(self) -> None:
        """Begin what is due."""
        while len(self._running) < self._at_once and self._may_bring() and (batch := self._next()):
            task = asyncio.create_task(self._bring(batch))
            self._running[task] = batch
            task.add_done_callback(self._ended)

    async def finish(self, seconds: float) -> None:
        """Wait for what is pending, at most so long and while it can be brought; then end what runs."""
        deadline = time.monotonic() + seconds
        try:
            while self.pending and self._may_bring() and (rest := deadline - time.monotonic()) > 0:
                self.pump()
                await asyncio.sleep(min(rest, _LOOK))
        finally:
            self._at_once = 0
            await cancel(self._running, ENDING)

    def _ended(self, task: asyncio.Task[None]) -> None:
        batch = self._running.pop(task)
        if task.cancelled():
            self._waiting |= {write: time.monotonic() for write in batch if write.is_pending}
        elif (error := task.exception()) is not None:
            logger.error("a mirror ended with %s", type(error).__name__)
        self.pump()

    def _next(self) -> list[W]:
        """Writes of one table that are due, whose keys no batch has that is being brought."""
        now = time.monotonic()
        if self._calls is not None and self._calls.in_flight:
            now -= PATIENCE
        busy = {(write.table, key) for batch in self._running.values() for write in batch for key in write.keys}
        batch: list[W] = []
        keys: set[Key] = set()
        for write, due in self._waiting.items():
            if due > now or not write.is_ready or any((write.table, key) in busy for key in write.keys):
                continue
            if batch:
                if write.table != batch[0].table or write.is_alone or batch[0].is_alone:
                    continue
                if len(keys.union(write.keys)) > MOST_KEYS:
                    break
            batch.append(write)
            keys.update(write.keys)
        for write in batch:
            del self._waiting[write]
        return batch
