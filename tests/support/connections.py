"""Ends the connections of a server that a test has started, so that none outlives the test's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress

_STEPS = 20  # of the loop, from the acceptance of a connection to its service


async def take_in_accepted() -> None:
    """To be called before a listener is closed: it would leave open what it has accepted and not handed on."""
    for _ in range(_STEPS):
        await asyncio.sleep(0)


async def end_connections(writers: Collection[asyncio.StreamWriter]) -> None:
    """Abort the connections, and wait until their sockets are closed: `close` alone does that in a later step."""
    for writer in writers:
        writer.transport.abort()
    for writer in writers:
        with suppress(OSError):
            await writer.wait_closed()
