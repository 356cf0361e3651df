"""The pool of connections: the order of those who wait, and what a connection is like when it is taken again."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from sqlalchemy import func, select

from app.state.fetching import fetch_value
from app.stores.postgres.database import Database

_PID = select(func.pg_backend_pid())


async def test_those_who_wait_are_served_in_turn(database_url: str) -> None:
    database = Database(database_url, pool_size=1)
    served: list[int] = []

    async def read(number: int) -> None:
        await database.fetch(_PID)
        served.append(number)

    async with database.statements():
        waiting = [asyncio.create_task(read(number)) for number in range(20)]
        await asyncio.sleep(0.05)
    waiting.append(asyncio.create_task(read(20)))  # comes later, while the connection is idle
    await asyncio.gather(*waiting)
    assert served == list(range(21))
    await database.close()


async def test_a_transaction_begun_beside_the_engine_is_not_left_open(database_url: str) -> None:
    database = Database(database_url, pool_size=1)
    async with database.statements() as connection:
        await connection.execute("BEGIN")
    alone = select(func.now() == func.statement_timestamp())
    assert await database.fetch(alone) == [(True,)]
    async with database.writer() as writing:  # a transaction again, after a read without one
        first, second = [await fetch_value(writing, "SELECT now()") for _ in range(2)]
    assert first == second
    await database.close()


async def test_a_connection_whose_return_is_cancelled_is_not_lost(database_url: str) -> None:
    database = Database(database_url, pool_size=1)
    taken: list[psycopg.AsyncConnection] = []

    async def work() -> None:
        async with database.writer() as connection:
            await connection.execute("SELECT 1")
            taken.append(connection.driver)
            working.cancel()  # acts where something is waited for next: the rollback after the error
            raise LookupError

    working = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await working
    await database.close()
    assert taken[0].closed


async def test_a_place_whose_connection_is_gone_hides_no_idle_one(database_url: str) -> None:
    database = Database(database_url, pool_size=2)
    async with database.statements() as kept, database.statements() as lost:
        pid = await fetch_value(kept, "SELECT pg_backend_pid()")
        await lost.driver.close()  # its place is the first in the pool from here on
    assert [await database.fetch(_PID) for _ in range(3)] == [[(pid,)]] * 3
    await database.close()
