"""A data layer at each stage, on a loop of its own, so that mirrors go on while a test asks a database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from threading import Thread
from typing import Any, cast

from app.cutover.resting_backend import RestingBackend
from app.cutover.staged_backend import StagedBackend
from app.cutover.stages import Stage
from app.data_layer import DataLayer, open_data_layer
from app.settings import Settings
from tests.contract.stores import Clock

Opening = Callable[..., AbstractAsyncContextManager[DataLayer]]


@contextmanager
def running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs in a thread."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> Any:
    """The result of work on that loop."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


class Distant:
    """A data layer on another loop.

    Attributes:
        has_written: since this was last set to False.
    """

    def __init__(self, layer: DataLayer, loop: asyncio.AbstractEventLoop) -> None:
        self.layer = layer
        self.loop = loop
        self.has_written = False

    def __getattr__(self, method: str) -> Any:
        if method not in vars(DataLayer):
            raise AttributeError(method)  # what others look for in any object
        self.has_written |= method.startswith("upsert_")

        async def call(*arguments: Any, **options: Any) -> Any:
            return await on(self.loop, getattr(self.layer, method)(*arguments, **options))

        return call


@asynccontextmanager
async def open_stages(
    settings: Settings, clock: Clock, loop: asyncio.AbstractEventLoop, opening: Opening = open_data_layer
) -> AsyncIterator[dict[Stage, DataLayer]]:
    """A data layer at each stage, fixed by CUTOVER_STAGE."""
    exits = AsyncExitStack()
    layers = {}
    try:
        for stage in Stage:
            given = settings.model_copy(update={"cutover_stage": stage.value})
            opened = await on(loop, exits.enter_async_context(opening(given, clock=clock)))
            layers[stage] = cast(DataLayer, Distant(opened, loop))
        yield layers
    finally:
        await on(loop, exits.aclose())


async def settled(layer: DataLayer) -> None:
    """Return once every mirror of a stage's layer has arrived, and every comparison is done."""
    distant = cast(Distant, layer)
    backend: Any = distant.layer._backend
    if isinstance(backend, RestingBackend):
        backend = await on(distant.loop, backend.open())
    assert isinstance(backend, StagedBackend)
    comparisons = cast(Any, backend._comparisons)
    async with asyncio.timeout(60):
        while any(writer.pending for writer in backend._writers.values()) or (  # noqa: ASYNC110
            comparisons._running or comparisons._waiting
        ):
            await asyncio.sleep(0.005)
