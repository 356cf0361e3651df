"""What tests of a following process share: questions that do not block its loop, moves by hand, a relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from app.data_layer import DataLayer
from tests.fixtures.cutover import Pair
from tests.support.relay import Relay

HOLD = (
    "INSERT INTO botdata.moves (kind, from_stage, to_stage, state, hold_until, done_by) SELECT 'advance', stage, "
    "'live', 'holding', clock_timestamp() + make_interval(secs => %s), 'a test' FROM botdata.stage RETURNING id"
)


def client(number: int = 7, name: str = "Анна") -> dict[str, Any]:
    return {"yclients_id": number, "company_id": 1, "phone": f"7968448{number:04}", "name": name}


async def ask(pair: Pair, statement: str, *parameters: Any, store: str = "target") -> list[Any]:
    """As Pair.ask, in a thread: what it waits for may be this process's own."""
    return await asyncio.to_thread(pair.ask, statement, *parameters, store=store)


async def until(pair: Pair, statement: str, rows: list[Any], seconds: float = 60.0) -> None:
    """Return once the target answers so."""
    found: list[Any] = []
    try:
        async with asyncio.timeout(seconds):
            while (found := await ask(pair, statement)) != rows:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{statement}: {found}, not {rows}") from None


async def until_written(data: DataLayer, row: dict[str, Any], seconds: float = 60.0) -> None:
    """Write until it is taken: a process is in the table a moment before it knows the stage itself."""
    async with asyncio.timeout(seconds):
        while (answer := await data.upsert_client(row)).error_code == "unavailable":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert answer.error is None


async def set_stage(pair: Pair, stage: str) -> None:
    await asyncio.to_thread(pair.set_stage, stage)


async def hold(pair: Pair, seconds: float) -> int:
    """Ask the processes to hold their writes; the number of the move."""
    return int((await ask(pair, HOLD, seconds))[0][0])


async def move_to_live(pair: Pair) -> None:
    """End a move that holds, as its command does."""

    def move() -> None:
        with psycopg.connect(pair.target) as connection:
            connection.execute("SELECT FROM botdata.stage FOR UPDATE")
            connection.execute("UPDATE botdata.moves SET state = 'done' WHERE state = 'holding'")
            connection.execute("UPDATE botdata.stage SET stage = 'live', moved_at = now()")

    await asyncio.to_thread(move)


@asynccontextmanager
async def relayed(database_url: str) -> AsyncIterator[tuple[Relay, str]]:
    """A relay before a database, and the URL by way of it."""
    url = make_url(database_url)
    directory = url.query.get("host")
    server = f"{directory}/.s.PGSQL.{url.query.get('port', 5432)}" if directory else (str(url.host), url.port or 5432)
    relay = await asyncio.to_thread(Relay, server)  # it runs a loop
    try:
        way = url.set(host="127.0.0.1", port=relay.port, query={})
        yield relay, way.render_as_string(hide_password=False)
    finally:
        await asyncio.to_thread(relay.close)
