"""Answers of reads compared with the other store's, beside the call and never in its way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from app.cutover.stages import Stage, Store
from app.data_layer.breaker import Breaker
from app.data_layer.metrics import Metrics
from app.data_layer.repository_backend import RepositoryBackend
from app.errors import DataError, StoreError

if TYPE_CHECKING:
    from app.data_layer.backend import Backend
    from app.db import Database
    from app.settings import Settings

T = TypeVar("T")
Ask = Callable[["Backend"], Awaitable[Any]]

_AFTER_THE_ANSWER = 0.001  # seconds, so that the caller goes on before the comparison begins


@dataclass(frozen=True, slots=True)
class Read:
    """A call that was answered.

    Attributes:
        ask: asks a store the same again.
        arguments: of the call.
        answer: the rows, or the error that was raised.
    """

    stage: Stage
    method: str
    arguments: Mapping[str, Any]
    ask: Ask
    answer: object


class Comparisons:
    """Those of one process.

    Args:
        stores: both backends, as the callers use them.
        database: a pool beside the callers' one, for the comparisons' own reads.
        process: this process's name.
    """

    def __init__(
        self,
        stores: Mapping[Store, Backend],
        database: Database | None,
        settings: Settings,
        process: str,
        metrics: Metrics,
    ) -> None:
        self._stores = stores
        self._own: dict[Store, Backend] = dict(stores)
        if database is not None:
            self._own[Store.POSTGRES] = RepositoryBackend(database, default_timezone=settings.default_timezone)
        self._settings = settings
        self._metrics = metrics
        self._breakers = {store: Breaker(failures=3) for store in Store}
        self._waiting: set[asyncio.TimerHandle] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Begin the work in the background."""

    async def read(
        self, stage: Stage, call: Callable[[Backend], Awaitable[T]], method: str, arguments: Mapping[str, Any]
    ) -> T:
        began = perf_counter()
        try:
            answer = await call(self._stores[stage.authority])
        except DataError as error:
            self._answered(Read(stage, method, arguments, call, error), perf_counter() - began)
            raise
        self._answered(Read(stage, method, arguments, call, answer), perf_counter() - began)
        return answer

    async def close(self) -> None:
        self._closed = True
        for handle in self._waiting:
            handle.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=self._settings.close_timeout)
        for task in self._running:
            task.cancel()

    def _answered(self, read: Read, seconds: float) -> None:
        self._metrics.observe(read.stage.authority, read.method, seconds)
        if not read.stage.compares or self._closed or read.stage.authority.other not in self._own:
            return
        if random.random() >= self._settings.compare_sampling:  # noqa: S311 - no secret
            return
        if len(self._running) + len(self._waiting) >= self._settings.compare_at_once:
            self._count(read, "skipped", "limit")
            return

        def begin() -> None:
            self._waiting.discard(handle)
            task = loop.create_task(self._compare(read))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

        loop = asyncio.get_running_loop()
        handle = loop.call_later(_AFTER_THE_ANSWER, begin)
        self._waiting.add(handle)

    async def _compare(self, read: Read) -> None:
        try:
            async with asyncio.timeout(self._settings.compare_deadline):
                outcome = await self._outcome(read)
        except TimeoutError:
            outcome = "skipped"
        self._count(read, outcome, "")

    async def _outcome(self, read: Read) -> str:
        other = read.stage.authority.other
        if not self._breakers[other].allows():
            return "skipped"
        began = perf_counter()
        try:
            answer: object = await read.ask(self._own[other])
        except DataError as error:
            answer = error
        self._metrics.observe(other, read.method, perf_counter() - began)
        if isinstance(answer, StoreError):
            self._breakers[other].failed()
            return "error"
        self._breakers[other].succeeded()
        return "equal" if answer == read.answer else "different"

    def _count(self, read: Read, outcome: str, reason: str) -> None:
        self._metrics.count("comparisons", method=read.method, outcome=outcome, reason=reason)
