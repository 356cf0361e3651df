"""Three salons at three stages under load, in the same processes, while one of them goes there and back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from statistics import quantiles
from time import monotonic

import psycopg
import pytest

from app.cutover.stages import Stage, Store
from app.data_layer.salons import Salons
from tests.cutover.bot_process import KEY
from tests.cutover.following import HOLD
from tests.cutover.history import History, Tokens, tokens_statement
from tests.cutover.load import Bots, step, there_and_back
from tests.cutover.servers import Servers
from tests.salons.opening import Opening, ask, client
from tests.support.other_schemas import searching

_MOVING, _MOVED, _LIVE = "public", "t2", "t3"


def _tokens(url: str) -> Tokens:
    with psycopg.connect(url) as connection:
        rows = [(t, key, token) for t in KEY for key, token in connection.execute(tokens_statement(t).encode())]
    return {(table, tuple(key)): token for table, key, token in rows}


def _history(bots: Bots, schema: str) -> History:
    return History.read([Path(f"{log}.{schema}") for log in bots.logs])


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_one_goes_there_and_back(servers: Servers) -> None:
    project = servers.another_supabase("third")
    for name, stage in ((_MOVED, "complete"), (_LIVE, "live")):
        servers.botdata("upgrade", DATABASE_SCHEMA=name)
        servers.ask(Store.POSTGRES, f"UPDATE {name}_botdata.stage SET stage = '{stage}', moved_at = now()")
    own = {
        _MOVING: {},
        _MOVED: {"cutover_stage": "complete"},
        _LIVE: {"supabase_url": project.url, "supabase_key": project.service_key},
    }
    with Bots(servers, 2, program="tests.salons.bot_process", SALONS=json.dumps(own)) as bots:
        for stage in there_and_back():
            step(servers, stage)
        with Bots(servers, 1, name="alone", first=50) as alone:
            alone.write_on(1)
            alone.kill()
            before = {name: _history(bots, name).acknowledged for name in (_MOVED, _LIVE)}
            bots.write_on(30)
            assert all(_history(bots, name).acknowledged > count for name, count in before.items())
        listed = {name: _processes(servers, name) for name in ("botdata", "t2_botdata", "t3_botdata")}
        assert {name: len(found) for name, found in listed.items()} == {"botdata": 3, "t2_botdata": 2, "t3_botdata": 2}
    url = servers.url(Store.POSTGRES)
    own_history = History.read([*bots.logs, *alone.logs])
    for history in (own_history, _history(bots, _MOVED), _history(bots, _LIVE)):
        assert history.errors == []
        assert history.stale == []
        assert history.acknowledged > 50
    assert servers.stage == Stage.OFF
    servers.botdata("sync")  # what was written at `off`
    for history, held in (
        (own_history, _tokens(url)),
        (own_history, servers.tokens(Store.SUPABASE)),
        (_history(bots, _MOVED), _tokens(searching(url, _MOVED))),
        (_history(bots, _LIVE), _tokens(searching(url, _LIVE))),
        (_history(bots, _LIVE), _tokens(servers.another_url("third"))),
    ):
        assert held.keys() - history.writes.keys() == set()  # nothing of another salon
        assert history.lost(held) == []


def _processes(servers: Servers, schema: str) -> list[object]:
    return servers.ask(Store.POSTGRES, f"SELECT name FROM {schema}.processes")


@pytest.mark.soak
async def test_the_barrier_of_one_delays_no_other(opening: Opening, target: str) -> None:
    for name in ("t1", "t2"):
        ask(target, f"UPDATE {name}_botdata.stage SET stage = 'complete', moved_at = now()")
    took: dict[bool, list[float]] = {True: [], False: []}
    held: list[float] = []
    is_held = False
    ends = monotonic() + 60

    async def write(salons: Salons, name: str, number: int) -> None:
        while monotonic() < ends:
            before, began = is_held, monotonic()
            answer = await salons[name].upsert_clients([client(name, number + 1)])
            assert answer.success, answer
            if name == "t1":
                held.append(monotonic() - began)
            elif before is is_held:
                took[is_held].append(monotonic() - began)
            await asyncio.sleep(0.005)

    async with opening(database_pool_size=4) as salons:
        await salons.open("t1", "t2")
        writers = [asyncio.create_task(write(salons, name, n)) for n in range(2) for name in ("t1", "t2")]
        while monotonic() < ends - 2:
            await asyncio.to_thread(
                ask,
                target,
                HOLD.replace("botdata.", "t1_botdata.").replace("%s", "60"),
            )
            await asyncio.sleep(0.8)  # it is seen
            is_held = True
            await asyncio.sleep(1)
            is_held = False
            await asyncio.to_thread(ask, target, "UPDATE t1_botdata.moves SET state = 'given up'")
            await asyncio.sleep(1)
        await asyncio.gather(*writers)
    assert sum(one > 0.9 for one in held) > 10  # each barrier held each of its writers
    p99 = {state: quantiles(seconds, n=100)[98] for state, seconds in took.items()}
    assert min(map(len, took.values())) > 500
    assert p99[True] <= 1.2 * p99[False], p99
