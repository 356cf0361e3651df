"""Pages fetched while the ones before them are worked on."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from app.migration.sources.source import Page


async def ahead(pages: AsyncIterator[Page]) -> AsyncGenerator[Page, None]:
    """The same pages, the next one being fetched while the caller works on this one.

    To be used with `contextlib.aclosing`: what is being fetched then ends with it.
    """
    upcoming = asyncio.ensure_future(anext(pages, None))
    try:
        while (page := await upcoming) is not None:
            upcoming = asyncio.ensure_future(anext(pages, None))
            yield page
    finally:
        if not upcoming.done():
            upcoming.cancel()
        await asyncio.gather(upcoming, return_exceptions=True)
