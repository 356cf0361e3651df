"""The page of `botdata watch` in Chromium: a cutover by its buttons, how it looks, and what frames it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.async_api import Page

from app.cutover.stages import Stage, Store
from tests.cli.command import start
from tests.cutover.load import THRESHOLDS
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


def _talk_on(answers: list[str]) -> None:
    """Wait until each question was answered twice more."""
    enough, deadline = len(answers) + 6, time.monotonic() + 60
    while len(answers) < enough:
        assert time.monotonic() < deadline, answers
        time.sleep(0.1)


@pytest.mark.budget(60)
async def test_the_cutover_there_and_back_by_the_buttons_alone(servers: Servers, chromium: Chromium) -> None:
    order = list(Stage)
    process = servers.start_botdata("watch", "--port", "0", "--allow-moves", *THRESHOLDS)
    with Chat(servers) as chat, Watch(process) as watch:
        async with chromium.window() as window:
            await window.page.goto(watch.address)
            with talking(chat) as answers:
                for kind, stages in (("advance", order[1:]), ("back", order[-2::-1])):
                    for to in stages:
                        await asyncio.to_thread(_talk_on, answers)
                        await _move(servers, window.page, kind, to)
            assert (window.errors, window.requests) == ([], [])
        assert chat.end() == ("Goodbye.\n", "", 0)
        assert watch.end() == ("", 0)
    assert_all_answered(answers)
    assert servers.stage == Stage.OFF
    await _run(servers, "sync")  # for what was written at `off`
    assert servers.differing() == []
    assert servers.ask(Store.POSTGRES, "SELECT count(*) FROM botdata.moves WHERE state = 'done'") == [(10,)]
    assert servers.ask(Store.POSTGRES, "SELECT count(*) FROM botdata.moves WHERE reason IS NOT NULL") == [(0,)]
    assert servers.ask(Store.POSTGRES, "SELECT count(*) FROM botdata.differences") == [(0,)]


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
            assert await page.evaluate("document.activeElement.id") == "advance"
            refused = await _press(page, "advance", Stage.LIVE)
            assert refused.startswith("NOT moved: 6 things stand against the step from shadow to live")
            assert HOSTILE in refused
            assert (await window.violations(), await window.overflow()) == ([], 0)
            await page.screenshot(path=tmp_path / f"{scheme}-{width}-refused.png")
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


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def elsewhere(watch: Watch, tmp_path: Path) -> Iterator[int]:
    """The port of another server of this machine, whose page frames this one and posts to it."""
    page = _ELSEWHERE.format(here=watch.address.partition("?")[0])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "index.html").write_text(page)
    handler = partial(_Quiet, directory=str(tmp_path / "elsewhere"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_a_page_elsewhere_shows_and_moves_nothing(
    watch: Watch, elsewhere: int, pair: Pair, chromium: Chromium, name: str
) -> None:
    async with chromium.window() as window:
        page = window.page
        await page.goto(watch.address)
        await page.locator("#advance").wait_for()
        await page.goto(f"http://{name}:{elsewhere}/")
        await page.wait_for_function("document.title !== 'elsewhere'")
        assert await page.title() == "refused refused refused"
        (frame,) = page.frames[1:]
        shown = await frame.content()
        assert not any(word in shown for word in ("Advance", "dualwrite", "Nothing is shown"))
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
                    await page.locator(f"#attention h2:has-text('{told}')").wait_for()
                assert (window.errors, await window.overflow(), await window.violations()) == ([], 0, [])
                assert watch.end() == ("", 0)  # though the page holds a connection
                await page.locator("#attention h2:text-is('botdata watch does not answer')").wait_for()
                assert "Start it again" in await page.inner_text("#attention")
                assert await heading.count() == 1
                assert await page.locator("#spoken").inner_text() != ""
                await page.screenshot(path=tmp_path / "ended.png")
