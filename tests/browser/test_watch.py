"""The page of `botdata watch` in Chromium: a cutover by its buttons, how it looks, and what frames it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page

from app.cutover.stages import Stage, Store
from tests.cli.command import start
from tests.cutover.load import THRESHOLDS, Bots
from tests.cutover.servers import Servers
from tests.examples.chat import Chat, assert_all_answered, talking
from tests.fixtures.browser import Chromium
from tests.fixtures.cutover import Pair
from tests.watch.planted import HOSTILE, PHONE, fill
from tests.watch.watching import Watch

pytestmark = pytest.mark.browser


async def _run(servers: Servers, *words: str) -> None:
    """A command of the owner's, which may be refused."""
    process = servers.start_botdata(*words)
    await asyncio.to_thread(process.communicate, timeout=120)


async def _press(page: Page, kind: str, to: Stage) -> str:
    """A button, and the one that confirms it; what the page then says."""
    await page.click(f"#{kind}[data-to={to}]")
    assert await page.evaluate("document.activeElement.id") == "confirm-no"
    await page.click("#confirm-yes")
    outcome = page.locator("#outcome.good, #outcome.bad")
    await outcome.wait_for(timeout=60_000)
    return await outcome.inner_text()


async def _move(servers: Servers, page: Page, kind: str, to: Stage) -> None:
    """Press until the stage is reached, doing first what the gate asks for; a bot's writes may come between."""
    deadline = time.monotonic() + 120
    while True:
        if kind == "advance" and to in {Stage.SHADOW, Stage.LIVE}:
            await _run(servers, "sync")
            await _run(servers, "verify")
        said = await _press(page, kind, to)
        if servers.stage == to:
            assert f"the stage is {to} now" in said
            await page.locator(f"ol.stages [aria-current]:text-is('{to}')").wait_for()
            return
        assert "NOT moved" in said
        assert time.monotonic() < deadline, said


async def test_the_cutover_there_and_back_by_the_buttons_alone(servers: Servers, chromium: Chromium) -> None:
    order = list(Stage)
    process = servers.start_botdata("watch", "--port", "0", "--allow-moves", *THRESHOLDS)
    with Bots(servers, 1) as bots, Chat(servers) as chat, Watch(process) as watch:
        async with chromium.window() as window:
            await window.page.goto(watch.address)
            with talking(chat) as answers:
                for to in order[1:]:
                    await asyncio.to_thread(bots.write_on, 5)
                    await _move(servers, window.page, "advance", to)
                for to in reversed(order[:-1]):
                    await asyncio.to_thread(bots.write_on, 5)
                    last = time.monotonic()
                    await _move(servers, window.page, "back", to)
            assert (window.errors, window.requests) == ([], [])
        assert chat.end() == ("Goodbye.\n", "", 0)
        assert watch.end() == ("", 0)
    assert_all_answered(answers)
    history = bots.history
    assert (history.errors, history.stale) == ([], [])
    assert history.lost(servers.tokens(Store.POSTGRES), before=last) == []
    assert history.lost(servers.tokens(Store.SUPABASE)) == []


@pytest.fixture
def watch(pair: Pair, tmp_path: Path) -> Iterator[Watch]:
    """The page of such a cutover."""
    fill(pair)
    supabase = pair.supabase
    settings = {"SUPABASE_URL": supabase.url, "SUPABASE_KEY": supabase.service_key, "DATABASE_URL": pair.target}
    with Watch(start("watch", "--port", "0", "--allow-moves", directory=tmp_path, **settings)) as watch:
        yield watch


async def test_it_fits_and_is_read_by_all(watch: Watch, chromium: Chromium, tmp_path: Path) -> None:
    state = None
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)):
        async with chromium.window(width=width, scheme=scheme) as window:
            if state is not None:
                await window.context.add_cookies(state)
            await window.page.goto(watch.address if state is None else watch.address.partition("?")[0])
            state = await window.context.cookies()
            page = window.page
            await page.locator("#gate summary").click()
            await page.screenshot(path=tmp_path / f"{scheme}-{width}.png", full_page=True)
            assert (await window.violations(), await window.overflow()) == ([], 0)
            await page.focus("#advance")
            await page.keyboard.press("Enter")
            assert (await window.violations(), await window.overflow()) == ([], 0)
            await page.screenshot(path=tmp_path / f"{scheme}-{width}-asked.png")
            await page.keyboard.press("Escape")
            text = await page.inner_text("body")
            assert HOSTILE in text
            assert PHONE not in await page.content()
            assert "7968***4488" in text
            assert await page.locator("main img, main script").count() == 0
            assert (window.errors, window.requests) == ([], [])
