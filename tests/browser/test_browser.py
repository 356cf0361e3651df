"""The browser that the other tests look through sees what it is to see."""

from pathlib import Path

import pytest

from tests.fixtures.browser import Chromium

pytestmark = pytest.mark.browser

_GOOD = "<!doctype html><html lang=en><title>t</title><main><h1>Fine</h1></main>"
_BAD = """<!doctype html><html lang=en><title>t</title><main><h1>Bad</h1><p style="width: 3000px">wide</p>
<p style="color: #eee; background: #fff">pale</p><img src="http://192.0.2.1/outside.png" alt=""></main>
<script>console.error("printed"); null.thrown</script>"""


async def test_what_is_wrong_with_a_page_is_seen(chromium: Chromium, tmp_path: Path) -> None:
    (tmp_path / "good.html").write_text(_GOOD)
    (tmp_path / "bad.html").write_text(_BAD)
    async with chromium.window(width=390, scheme="dark") as window:
        await window.page.goto((tmp_path / "good.html").as_uri())
        assert (window.errors, window.requests, await window.overflow(), await window.violations()) == ([], [], 0, [])
        assert await window.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        await window.page.goto((tmp_path / "bad.html").as_uri(), wait_until="domcontentloaded")
        assert "printed" in window.errors
        assert any("thrown" in line for line in window.errors)
        assert window.requests == ["http://192.0.2.1/outside.png"]
        assert await window.overflow() > 2000
        assert [line.split(":")[0] for line in await window.violations()] == ["color-contrast"]
