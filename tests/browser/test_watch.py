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
from tests.support.relay import Relay, postgres_address
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


_ELSEWHERE = """<!doctype html><title>elsewhere</title><iframe src="{here}"></iframe><script>
const post = (mode) => fetch("{here}move", {{method: "POST", mode, credentials: "include",
  headers: mode === "cors" ? {{"Content-Type": "application/json", "X-CSRF-Token": "guessed"}} : {{}},
  body: JSON.stringify({{kind: "back", stage: "shadow"}})}}).then((answer) => answer.status, () => "refused");
const read = fetch("{here}facts", {{credentials: "include"}}).then((answer) => answer.text(), () => "refused");
Promise.all([post("cors"), post("no-cors"), read]).then((all) => {{ document.title = all.join(" "); }});
</script><form action="{here}move" method="post" enctype="text/plain" target="_blank"><button>press</button></form>"""


@pytest.mark.parametrize("origin", ["http://127.0.0.1:9", "http://localhost:9", "http://elsewhere.test"])
async def test_a_page_elsewhere_shows_and_moves_nothing(
    watch: Watch, pair: Pair, chromium: Chromium, origin: str
) -> None:
    here = watch.address.partition("?")[0]
    async with chromium.window() as window:
        page = window.page
        await page.goto(watch.address)
        await page.locator("#advance").wait_for()
        await page.route(f"{origin}/**", lambda route: route.fulfill(content_type="text/html", body=other))
        other = _ELSEWHERE.format(here=here)
        await page.goto(f"{origin}/")
        await page.wait_for_function("document.title !== 'elsewhere'")
        assert await page.title() == "refused refused refused"
        for frame in page.frames[1:]:
            assert "shadow" not in await frame.content()
        assert any("frame" in line.lower() for line in window.errors), window.errors
        async with window.context.expect_page() as opened:
            await page.click("button")
        answer = await opened.value
        await answer.wait_for_load_state()
        assert "Nothing is shown here" in await answer.content()
        assert pair.ask("SELECT stage FROM botdata.stage") == [("shadow",)]


async def test_it_says_what_is_away_and_goes_on(pair: Pair, chromium: Chromium, tmp_path: Path) -> None:
    with Relay(postgres_address(pair.target)) as relay:
        process = start("watch", "--port", "0", directory=tmp_path, DATABASE_URL=relay.way(pair.target))
        with Watch(process) as watch:
            async with chromium.window(width=390) as window:
                page = window.page
                await page.goto(watch.address)
                heading = page.locator("#attention h2")
                await page.locator("#gate summary, #gate p").first.wait_for()
                assert await page.locator("button").count() == 2  # those of the closed dialog
                for state in ("cut", "heal", "cut", "heal"):
                    getattr(relay, state)()
                    told = "The target cannot be read" if state == "cut" else "Nothing is wrong"
                    await page.locator(f"#attention h2:text-is('{told}')").wait_for()
                assert (window.errors, await window.overflow(), await window.violations()) == ([], 0, [])
                assert watch.end() == ("", 0)  # though the page holds a connection
                await page.locator("#attention h2:text-is('botdata watch does not answer')").wait_for()
                assert "Start it again" in await page.inner_text("#attention")
                assert await heading.count() == 1
                assert await page.locator("#spoken").inner_text() != ""
                await page.screenshot(path=tmp_path / "ended.png")
