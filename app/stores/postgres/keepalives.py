"""Connections that a router on the way has forgotten: noticed by TCP, and asked before they are used."""

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any

import psycopg

# A connection that a router has forgotten is noticed after two minutes. The names are those of libpq ("Parameter Key
# Words").
KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 60,
    "keepalives_interval": 15,
    "keepalives_count": 4,
    "tcp_user_timeout": 120_000,  # milliseconds; while something sent is not acknowledged, there are no keepalives
}
# A network address translation drops idle connections without a word, at large clouds after four to six minutes.
ASK_AFTER = 60.0  # seconds that a connection was idle
_ANSWER = 0.7  # seconds


async def answers(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Whether an idle connection still leads to its server, asked in autocommit; where not, it is closed."""
    asking = asyncio.ensure_future(_ask(connection))
    try:
        await asyncio.wait({asking}, timeout=_ANSWER)
    finally:
        if not asking.done():
            hang_up(connection)  # which ends what waits for the answer
            await asyncio.wait({asking}, timeout=_ANSWER)
    return asking.done() and asking.result()


async def _ask(connection: psycopg.AsyncConnection[Any]) -> bool:
    try:
        await connection.set_autocommit(True)
        await connection.execute(b"SELECT 1")
    except psycopg.Error:
        await connection.close()
        return False
    return True


def hang_up(connection: psycopg.AsyncConnection[Any]) -> None:
    """End the line at once, without a word to the server; what waits for an answer fails."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


async def hang_up_waiting(connection: psycopg.AsyncConnection[Any], asking: asyncio.Task[Any]) -> None:
    """End a statement for which a pooler has no server process yet, by closing its connection; not one that is done.

    psycopg would ask the server to end it, and wait for seconds for an answer that nobody gives.
    """
    if not asking.done():
        asking.cancel()
        connection.pgconn.finish()
        with suppress(asyncio.CancelledError, psycopg.Error):
            await asking
