"""Finds out whether a connection goes through a transaction pooler, before anything of a session is set on it.

PostgreSQL greets a client with the number of the process that serves it. A pooler (PgBouncer, Supavisor, PgCat, PgDog)
greets a client before it has a server for it, and sends a number of its own. Where the greeting has the number that
`pg_backend_pid()` gives, there is no pooler, and one statement has shown it.

A pooler in session mode gives a client one server process until the client leaves. In transaction mode it takes the
process back after each transaction. Three observations prove transaction mode, since session mode allows none:

- the process that has served this client serves another one, while this client is still connected;
- this client is served by another process than before;
- the process has carried out a statement that is not this client's, since the statistics know of a later one.

They are looked for with a second client of the same pool, which asks right after the first. A pooler that gives out
the process that came back last (PgBouncer's default) gives it the first one's process. A pooler that gives out the one
that came back first (`server_round_robin`) does so where it has one process, and else gives the first client another
process the next time. Where other clients of the pool come between, they use the first one's process, and the third
observation shows it. All is done several times, each time with a client that the pooler has not seen.

A second client may have to wait, for the pool may be full. Poolers serve those who wait in their order. Where the first
client, who asks later, is served again and again while the second waits, it has a process for itself: session mode.

Only queries are sent, each a transaction of its own, so that nothing stays behind in either mode.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import NamedTuple

import psycopg
from psycopg import AsyncConnection

from app.common.driver_errors import without_values
from app.stores.postgres.keepalives import hang_up_waiting

_ROUNDS = 5
_WAITS_AFTER = 0.5  # seconds without an answer: it waits for a process
_PATIENCE = 10.0  # seconds for an answer from the pooler

_MICROSECONDS = "(extract(epoch FROM {}) * 1000000)::bigint"  # the same text, whatever the session's settings are
_ASK = f"SELECT pg_backend_pid(), {_MICROSECONDS.format('statement_timestamp()')}"
_ASK_ABOUT = f"""
SELECT pg_backend_pid(),
    (SELECT {_MICROSECONDS.format("query_start")} FROM pg_catalog.pg_stat_activity WHERE pid = {{}})
"""  # noqa: S608 - a number


class _Answer(NamedTuple):
    """The process that answered, and the time of a statement: this one, or the last one of the process asked about."""

    process: int
    at: int | None


class UndecidedError(Exception):
    """It could not be found out."""


class Pooling(Enum):
    """What a connection goes through."""

    NONE = auto()
    SESSION = auto()
    TRANSACTION = auto()


async def find_pooling(
    connection: AsyncConnection, connect_again: Callable[[], Awaitable[AsyncConnection]], *, suspected: bool = False
) -> Pooling:
    """What lies between a connection and its server.

    Args:
        connection: a new one, in autocommit.
        connect_again: makes another one, in autocommit, by the same address and role.
        suspected: the address speaks for a pooler: look closer though the greeting speaks against one.

    Raises:
        UndecidedError: says why.
        psycopg.Error: the connection was lost.
    """
    first = await _in_time(connection, None)  # a pool that is full lets it wait
    is_direct = first.process == connection.info.backend_pid
    if is_direct and not suspected:
        return Pooling.NONE
    try:
        for _ in range(_ROUNDS):
            answer = await _compare(connection, first, connect_again)
            if answer is not None:
                return answer
            again = await _in_time(connection, _PATIENCE)
            if again.process != first.process:
                return Pooling.TRANSACTION
            first = again
    except UndecidedError:
        if is_direct:
            return Pooling.NONE
        raise
    return Pooling.NONE if is_direct else Pooling.SESSION


async def _compare(
    connection: AsyncConnection, first: _Answer, connect_again: Callable[[], Awaitable[AsyncConnection]]
) -> Pooling | None:
    """One round with a new client; None where it proves nothing."""
    try:
        other = await connect_again()
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        raise UndecidedError(f"a second connection was refused: {said}") from without_values(error)
    asking = asyncio.create_task(_ask(other, _ASK_ABOUT.format(first.process)))
    try:
        await asyncio.wait([asking], timeout=_WAITS_AFTER)
        at: int | None = first.at
        if not asking.done():
            answer = await _ask_meanwhile(connection, first.process, asking)
            if answer is not None:
                return answer
            at = None  # since then, the first client itself has sent later ones
        await asyncio.wait([asking], timeout=_PATIENCE)
        if not asking.done():
            raise UndecidedError("a second connection waited in vain for a server process")
        try:
            about = asking.result()
        except psycopg.Error as error:
            said = " ".join(str(error).split())
            raise UndecidedError(f"a second connection was not served: {said}") from without_values(error)
    finally:
        await _leave(other, asking)
    is_shared = about.process == first.process or (None not in {at, about.at} and at != about.at)
    return Pooling.TRANSACTION if is_shared else None


async def _ask_meanwhile(connection: AsyncConnection, process: int, asking: asyncio.Task[_Answer]) -> Pooling | None:
    """Whether the first client has a process for itself, while another one waits; None where that waits no more."""
    for _ in range(_ROUNDS):
        if (await _in_time(connection, _PATIENCE)).process != process:
            return Pooling.TRANSACTION
        if asking.done():
            return None
    return Pooling.SESSION


async def _ask(connection: AsyncConnection, query: str) -> _Answer:
    row = await (await connection.execute(query)).fetchone()
    assert row is not None
    return _Answer(*row)


async def _in_time(connection: AsyncConnection, seconds: float | None) -> _Answer:
    asking = asyncio.create_task(_ask(connection, _ASK))
    try:
        await asyncio.wait([asking], timeout=seconds)
        if asking.done():
            return asking.result()
    except BaseException:
        await _leave(connection, asking)
        raise
    await _leave(connection, asking)
    raise UndecidedError("the pooler had no server process in time")


async def _leave(connection: AsyncConnection, asking: asyncio.Task[_Answer]) -> None:
    """Close a connection; one that still waits is closed at once."""
    await hang_up_waiting(connection, asking)
    await connection.close()
