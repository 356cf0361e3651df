"""Who gets to see the page of `botdata watch`, and who gets to move the stage: nobody else."""

from __future__ import annotations

import re
from http import HTTPStatus

import httpx
import pytest

from tests.fixtures.cutover import Pair
from tests.watch.conftest import PORT, MakePage

_PATHS = ("/", "/facts", "/watch.js", "/watch.css", "/move", "/nothing")


def _shows_nothing(answer: httpx.Response, status: HTTPStatus = HTTPStatus.FORBIDDEN) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/plain")
    assert not re.search(r"clients|dualwrite|<html|csrf", answer.text)
    _is_guarded(answer)


def _is_guarded(answer: httpx.Response) -> None:
    headers = answer.headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "frame-ancestors": "'none'",
        "form-action": "'self'",
        "base-uri": "'none'",
    }
    assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "no-referrer")


@pytest.fixture
def still(pair: Pair) -> Pair:
    """A cutover at dualwrite; whatever is refused leaves it there."""
    pair.set_stage("dualwrite")
    return pair


def _stands(pair: Pair, stage: str = "dualwrite") -> None:
    assert pair.ask("SELECT stage FROM botdata.stage") == [(stage,)]


async def test_the_token_opens_one_browser_once(still: Pair, page_of: MakePage) -> None:
    async with page_of() as page:
        for path in _PATHS:
            _shows_nothing(await page.browser.get(path))
        _shows_nothing(await page.move("back", "dualwrite"))
        _shows_nothing(await page.browser.get("/?token=" + "x" * 43))
        given = await page.browser.get(page.server.guard.address)
        assert (given.status_code, given.headers["location"]) == (303, "/")
        cookie = given.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        _is_guarded(given)
        for path, kind in (("/", "text/html"), ("/facts", "application/json"), ("/watch.js", "text/javascript")):
            answer = await page.browser.get(path)
            assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, kind)
            _is_guarded(answer)
        again = await page.browser.get(page.server.guard.address)
        _shows_nothing(again)
        assert "if it was not you who opened it, end botdata watch" in again.text
        page.browser.cookies.clear()
        _shows_nothing(await page.open())
    _stands(still)


@pytest.mark.parametrize(
    "host",
    ["evil.example", f"evil.example:{PORT}", "127.0.0.1", f"127.0.0.1:{PORT + 1}", f"localhost.evil.example:{PORT}"],
)
async def test_another_host_is_refused(still: Pair, page_of: MakePage, host: str) -> None:
    async with page_of(metrics_token="of-the-metrics") as page:
        address = page.server.guard.address
        _shows_nothing(await page.browser.get(address, headers={"Host": host}), HTTPStatus.MISDIRECTED_REQUEST)
        await page.open()
        for path in (*_PATHS, "/metrics"):
            sent = {"Host": host, "Authorization": "Bearer of-the-metrics"}
            _shows_nothing(await page.browser.get(path, headers=sent), HTTPStatus.MISDIRECTED_REQUEST)
        moved = await page.move("back", "dualwrite", Host=host, Origin=f"http://{host}")
        assert moved.status_code == HTTPStatus.MISDIRECTED_REQUEST
    _stands(still)


@pytest.mark.parametrize(
    "sent",
    [
        {"Origin": "https://evil.example"},
        {"Origin": f"http://127.0.0.1:{PORT + 1}"},
        {"Origin": f"http://localhost:{PORT}"},
        {"Origin": "null"},
        {"Origin": ""},
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": "x" * 43},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Cookie": f"botdata_watch_{PORT}=other"},
    ],
    ids=lambda sent: "{}: {}".format(*next(iter(sent.items()))),
)
async def test_what_is_not_the_page_moves_nothing(still: Pair, page_of: MakePage, sent: dict[str, str]) -> None:
    async with page_of() as page:
        await page.open()
        _shows_nothing(await page.move("back", "dualwrite", **sent))
        if "Sec-Fetch-Site" in sent:
            _shows_nothing(await page.browser.get("/facts", headers=sent))
    _stands(still)


async def test_without_the_option_nothing_moves(still: Pair, page_of: MakePage) -> None:
    async with page_of(moves=False) as page:
        await page.open()
        shown = (await page.browser.get("/facts")).json()
        assert (shown["facts"]["cutover"]["stage"], shown["csrf"]) == ("dualwrite", None)
        assert (await page.move("back", "dualwrite")).status_code == HTTPStatus.NOT_FOUND
    _stands(still)


async def test_a_move_of_the_stage_that_was_shown(still: Pair, page_of: MakePage) -> None:
    async with page_of() as page:
        await page.open()
        assert (await page.browser.get("/facts")).json()["csrf"] == page.server.guard.csrf
        stale = await page.move("advance", "off")
        assert stale.status_code == HTTPStatus.CONFLICT
        assert stale.json()["said"] == "another command has moved the stage meanwhile: from off to dualwrite"
        for kind, stage in (("finish", "dualwrite"), ("back", "nowhere"), ("back", ""), (["back"], "dualwrite")):
            assert (await page.move(kind, stage)).status_code == HTTPStatus.BAD_REQUEST
        refused = (await page.move("advance", "dualwrite")).json()
        assert (refused["moved"], refused["to"]) == (False, "shadow")
        assert refused["said"].startswith("NOT moved: ")
        assert {"what", "remedy"} == set(refused["objections"][0])
        _stands(still)
        moved = (await page.move("back", "dualwrite")).json()
        assert moved["moved"]
        assert moved["said"] == "the stage is off now, and was dualwrite; no process is behind"
        assert (await page.move("back", "dualwrite")).status_code == HTTPStatus.CONFLICT
    _stands(still, "off")


async def test_figures_want_their_own_token(still: Pair, page_of: MakePage) -> None:
    async with page_of() as page:
        await page.open()
        _shows_nothing(await page.browser.get("/metrics"), HTTPStatus.NOT_FOUND)
    async with page_of(metrics_token="of-the-metrics") as page:
        await page.open()
        for sent in ("", "Bearer", "Bearer other", "Basic of-the-metrics"):
            answer = await page.browser.get("/metrics", headers={"Authorization": sent})
            _shows_nothing(answer, HTTPStatus.UNAUTHORIZED)
        answer = await page.browser.get("/metrics", headers={"Authorization": "Bearer of-the-metrics"})
        assert 'botdata_stage{stage="dualwrite"} 1' in answer.text
        _is_guarded(answer)
