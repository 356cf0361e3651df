"""The page of `botdata report` in Chromium: nothing from outside, nothing that runs, readable at any width."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio

from app.report.texts import Language
from tests.fixtures.browser import Chromium
from tests.fixtures.servers import migrated_template, tool_template
from tests.report.making import HOSTILE, SCRIPT, hostile_report, salon_report, write_page
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.browser


@pytest_asyncio.fixture(scope="module")
async def reports(postgres_server: PostgresServer) -> AsyncIterator[dict[str, Any]]:
    """The facts of a salon's move, and of a move from a hostile source."""
    salon = [
        postgres_server.create_database(template=template(postgres_server))
        for template in (migrated_template, tool_template)
    ]
    hostile = [postgres_server.create_database() for _ in range(2)]
    with PageServer(salon[0]) as pages, PageServer(hostile[0]) as others:
        yield {"salon": await salon_report(pages, *salon), "hostile": await hostile_report(others, *hostile)}
    for url in salon + hostile:
        postgres_server.drop_database(url)


@pytest.mark.parametrize(
    ("kind", "language", "width", "scheme"),
    [
        *itertools.product(["salon"], ["en", "ru"], [1280, 390], ["light", "dark"]),
        ("hostile", "en", 1280, "dark"),
        ("hostile", "ru", 390, "light"),
    ],
)
async def test_it_can_be_read(
    chromium: Chromium,
    reports: dict[str, Any],
    tmp_path: Path,
    kind: str,
    language: Language,
    width: int,
    scheme: Literal["light", "dark"],
) -> None:
    page = write_page(reports[kind], tmp_path, language)
    async with chromium.window(width=width, scheme=scheme) as window:
        await window.page.goto(page.as_uri())
        assert (window.errors, window.requests) == ([], [])
        assert await window.overflow() == 0
        assert await window.violations() == []
        assert await window.page.locator("h1").inner_text() in {"Migration report", "Отчёт о переносе данных"}


async def test_names_and_texts_of_a_hostile_source_are_shown_and_do_nothing(
    chromium: Chromium, reports: dict[str, Any], tmp_path: Path
) -> None:
    page = write_page(reports["hostile"], tmp_path)
    async with chromium.window() as window:
        await window.page.goto(page.as_uri())
        assert (await window.page.title()).startswith("Migration report")
        shown = await window.page.locator("main").inner_text()
        assert HOSTILE in shown
        assert SCRIPT in shown
        assert await window.page.locator("main script, main img, main b").count() == 0
        facts = await window.page.evaluate("JSON.parse(document.getElementById('botdata-report').textContent)")
        assert facts == reports["hostile"]
        assert (window.errors, window.requests) == ([], [])
        for kind, member in (("script", {"textContent": "document.title = 'run'"}), ("img", {"src": "data:,"})):
            smuggle = "([kind, member]) => document.body.append(Object.assign(document.createElement(kind), member))"
            await window.page.evaluate(smuggle, [kind, member])
        assert (await window.page.title()).startswith("Migration report")
        assert len([line for line in window.errors if "Content Security Policy" in line]) == 2


async def test_it_can_be_printed(chromium: Chromium, reports: dict[str, Any], tmp_path: Path) -> None:
    page = write_page(reports["salon"], tmp_path)
    async with chromium.window(width=688) as window:  # A4 without its margins
        await window.page.emulate_media(media="print")
        await window.page.goto(page.as_uri())
        assert await window.overflow() == 0
        assert await window.page.locator("thead").first.is_visible()
