"""Requests whose callers are cancelled: the HTTP session's places for connections are all there afterwards."""

import asyncio
from threading import Event

import pytest

from app.errors import UnavailableError
from app.stores.outgoing_write import OutgoingWrite
from app.stores.supabase.client import SupabaseRest
from tests.support import faults
from tests.support.page_server import PageServer

_CONNECTIONS = 3


@pytest.mark.parametrize("way", ["rows", "read_at_most"])
async def test_no_connection_is_lost(database_url: str, way: str) -> None:
    with PageServer(database_url) as server:
        rest = await SupabaseRest.open(server.url, server.service_key, request_timeout=2, connections=_CONNECTIONS)

        async def read() -> None:
            builder = rest.table("clients").select("id")
            await (rest.rows(builder) if way == "rows" else rest.read_at_most(builder, 1000))

        for steps in range(40):
            reading = [asyncio.create_task(read()) for _ in range(2 * _CONNECTIONS)]
            for _ in range(steps):
                await asyncio.sleep(0)
            for task in reading:
                task.cancel()
            await asyncio.wait(reading)
        await asyncio.gather(*[read() for _ in range(_CONNECTIONS)])
        await rest.close()


async def test_closed_while_nobody_waits(database_url: str) -> None:
    before = asyncio.all_tasks()
    with PageServer(database_url) as server:
        rest = await SupabaseRest.open(server.url, server.service_key)
        reading = asyncio.create_task(rest.rows(rest.table("clients").select("id")))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        assert not asyncio.all_tasks() <= before  # the request goes on
        await rest.close()
        assert asyncio.all_tasks() <= before


async def test_who_gives_up_before_its_turn_sends_nothing(database_url: str) -> None:
    with PageServer(database_url) as server:
        rest = await SupabaseRest.open(server.url, server.service_key, connections=1)
        reading, waiting = [asyncio.create_task(rest.rows(rest.table("clients").select("id"))) for _ in range(2)]
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await reading
        await rest.rows(rest.table("clients").select("id"))
        await rest.close()
    assert len(server.exchanges) == 2  # each is recorded after its answer


async def test_a_turn_that_does_not_come_in_time(database_url: str) -> None:
    given_up = Event()

    def answer_behind(answer: faults.Answer) -> faults.Answer:
        given_up.wait(60)
        return answer

    with PageServer(database_url, hook=faults.queue([answer_behind])) as server:
        rest = await SupabaseRest.open(server.url, server.service_key, connections=1, request_timeout=0.2)
        slow = asyncio.create_task(rest.rows(rest.table("clients").select("id")))
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError, match="no free connection to Supabase in time"):
            await rest.rows(rest.table("clients").select("id"))
        given_up.set()
        await asyncio.wait([slow])
        await rest.close()


async def test_a_write_that_was_given_up_never_reaches_the_server(database_url: str) -> None:
    with PageServer(database_url) as server:
        rest = await SupabaseRest.open(server.url, server.service_key, connections=1)
        write = OutgoingWrite()
        assert write.give_up()
        for _ in range(2):  # its connection's place is given back
            builder = rest.table("clients").insert([{}])
            with pytest.raises(UnavailableError, match="given up before it was sent"):
                await rest.respond(builder, writing=True, content=b"[{}]", before_sending=write.leave)
        assert await rest.rows(rest.table("clients").select("id")) == []
        await rest.close()
    assert [exchange.request.method for exchange in server.exchanges] == ["GET"]
