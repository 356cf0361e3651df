"""A transaction pooler is told from a session pooler and from a server."""

import asyncio
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, Self

import psycopg
import pytest
from psycopg import AsyncConnection

from app.stores.postgres.poolers.probe import Pooling, UndecidedError, find_pooling
from tests.pooler.bouncer import Mode, run_bouncer


class _Looking:
    """The connections that one look made."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.made: list[AsyncConnection] = []

    async def connect(self) -> AsyncConnection:
        connection = await AsyncConnection.connect(self._url, autocommit=True, prepare_threshold=None)
        self.made.append(connection)
        return connection


async def _look(url: str, *, suspected: bool = False) -> tuple[Pooling, int]:
    """What was found, and how many connections it took."""
    looking = _Looking(url)
    async with await looking.connect() as connection:
        found = await find_pooling(connection, looking.connect, suspected=suspected)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert all(other.closed for other in looking.made[1:])
    return found, len(looking.made)


@pytest.mark.parametrize("round_robin", [False, True])
@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("mode", ["transaction", "session", "statement"])
async def test_what_is_found(fresh_database: str, mode: Mode, size: int, round_robin: bool) -> None:
    expected = Pooling.SESSION if mode == "session" else Pooling.TRANSACTION
    with run_bouncer(fresh_database, mode=mode, size=size, round_robin=round_robin) as bouncer:
        for _ in range(3):
            assert (await _look(bouncer.url(fresh_database)))[0] is expected
        if mode == "transaction":
            bouncer.sessions(fresh_database)  # makes all of the pool
            for _ in range(10):
                assert (await _look(bouncer.url(fresh_database)))[0] is expected


async def test_a_server_is_asked_one_thing(fresh_database: str) -> None:
    assert await _look(fresh_database) == (Pooling.NONE, 1)
    found, connections = await _look(fresh_database, suspected=True)
    assert found is Pooling.NONE
    assert connections > 1


async def _busy(url: str, seconds: float) -> None:
    """Another client of the pool, whose statements come between."""
    async with await AsyncConnection.connect(url, autocommit=True, prepare_threshold=None) as client:
        ends = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < ends:
            await client.execute("SELECT pg_sleep(0.001)")


@pytest.mark.parametrize("round_robin", [False, True])
@pytest.mark.parametrize("clients", [3, 12])
async def test_others_come_between(fresh_database: str, clients: int, round_robin: bool) -> None:
    with run_bouncer(fresh_database, size=4, round_robin=round_robin) as bouncer:
        url = bouncer.url(fresh_database)
        busy = [asyncio.create_task(_busy(url, 6)) for _ in range(clients)]
        await asyncio.sleep(0.2)
        looks = [(await _look(url))[0] for _ in range(40)]
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
    assert set(looks) == {Pooling.TRANSACTION}


async def test_a_pool_that_has_no_process_for_anyone(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.stores.postgres.poolers.probe._PATIENCE", 0.5)
    with run_bouncer(fresh_database, size=1) as bouncer:
        looking = _Looking(bouncer.url(fresh_database))
        first = await looking.connect()
        with ExitStack() as stack:

            async def connect() -> AsyncConnection:
                taker = stack.enter_context(psycopg.connect(bouncer.url(fresh_database)))
                taker.execute("SELECT 1")  # takes the only process, and keeps it
                return await looking.connect()

            with pytest.raises(UndecidedError):
                await find_pooling(first, connect)
        await first.close()


async def test_a_second_connection_is_refused(fresh_database: str) -> None:
    async def refuse() -> AsyncConnection:
        raise psycopg.OperationalError("too many clients")

    with run_bouncer(fresh_database, mode="session") as bouncer:
        async with await _Looking(bouncer.url(fresh_database)).connect() as connection:
            with pytest.raises(UndecidedError, match="refused: too many clients"):
                await find_pooling(connection, refuse)
    async with await _Looking(fresh_database).connect() as connection:
        assert await find_pooling(connection, refuse, suspected=True) is Pooling.NONE


async def test_nothing_stays_behind(fresh_database: str) -> None:
    with run_bouncer(fresh_database) as bouncer:
        before = bouncer.sessions(fresh_database)
        for _ in range(5):
            await _look(bouncer.url(fresh_database))
        assert bouncer.sessions(fresh_database) == before


class _Played:
    """A connection that gives one answer after the other, each a process and a time."""

    def __init__(self, answers: list[tuple[int, int | None]]) -> None:
        self._answers = answers
        self.info = SimpleNamespace(backend_pid=-1)

    async def execute(self, _: str) -> Self:
        return self

    async def fetchone(self) -> tuple[int, int | None]:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("first", "others", "expected"),
    [
        ([(5, 100)], [(6, 100)], Pooling.SESSION),
        ([(5, None)], [(6, None)], Pooling.SESSION),  # the server keeps no statistics of activity
        ([(5, 100)], [(5, None)], Pooling.TRANSACTION),
        ([(5, 100), (7, 101)], [(6, None)], Pooling.TRANSACTION),
        ([(5, 100)], [(6, 101)], Pooling.TRANSACTION),
        ([(5, 100)], [(6, 100), (6, 100), (6, 100), (6, 101)], Pooling.TRANSACTION),
    ],
)
async def test_each_observation_is_enough(
    first: list[tuple[int, int | None]], others: list[tuple[int, int | None]], expected: Pooling
) -> None:
    other: Any = _Played(list(others))

    async def connect() -> Any:
        return other

    played: Any = _Played(list(first))
    assert await find_pooling(played, connect) is expected
