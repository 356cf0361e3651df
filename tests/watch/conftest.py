"""A page in this process, on both stores, asked without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest

from app.cli.commands.watch.command import masker, mover, watch_document
from app.cutover.moves.gates.thresholds import Thresholds
from app.watch.server import Server
from app.watch.watcher import Watcher
from tests.fixtures.cutover import MakeSettings

PORT = 8790
HERE = f"http://127.0.0.1:{PORT}"


@dataclass(frozen=True)
class Page:
    """A browser's view of the page, without a browser.

    Attributes:
        browser: keeps its cookies.
    """

    server: Server
    watcher: Watcher
    browser: httpx.AsyncClient

    async def open(self) -> httpx.Response:
        """Follow the printed address."""
        return await self.browser.get(self.server.guard.address, follow_redirects=True)

    async def move(self, kind: str, stage: str, **headers: str) -> httpx.Response:
        """Press a button, as the page does."""
        sent = {"Origin": HERE, "X-CSRF-Token": self.server.guard.csrf, **headers}
        return await self.browser.post(
            "/move", json={"kind": kind, "stage": stage}, headers={name: text for name, text in sent.items() if text}
        )


MakePage = Callable[..., AbstractAsyncContextManager[Page]]


@pytest.fixture
def page_of(settings_of: MakeSettings) -> MakePage:
    """Makes pages, whose facts were read once."""

    @asynccontextmanager
    async def make(*, moves: bool = True, metrics_token: str | None = None) -> AsyncIterator[Page]:
        settings = settings_of()
        watcher = Watcher(settings)
        await watcher.once()
        server = Server(
            watcher,
            PORT,
            watch_document,
            masked=masker(settings),
            move=mover(settings, Thresholds()) if moves else None,
            metrics_token=metrics_token,
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(server.guard), base_url=HERE) as browser:
            yield Page(server, watcher, browser)

    return make
