"""Pages fetched while the ones before them are worked on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator

from app.migration.source import Page

_PAGES = 2  # at once: with one, the source would wait while a page is made ready for the target


async def ahead(pages: AsyncIterator[Page]) -> AsyncGenerator[Page, None]:
    """The same pages, the next ones being fetched while the caller works on one.

    To be used with `contextlib.aclosing`: what is being fetched then ends with it.
    """

    async def fetch(before: asyncio.Task[Page | None] | None) -> Page | None:
        if before is not None:
            await asyncio.wait([before])
        return await anext(pages, None)

    upcoming: deque[asyncio.Task[Page | None]] = deque()
    try:
        while True:
            while len(upcoming) <= _PAGES:
                upcoming.append(asyncio.create_task(fetch(upcoming[-1] if upcoming else None)))
            if (page := await upcoming[0]) is None:
                return
            upcoming.popleft()
            yield page
    finally:
        for task in upcoming:
            task.cancel()
        await asyncio.gather(*upcoming, return_exceptions=True)
