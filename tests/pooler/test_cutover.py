"""A bot's process goes through every stage of a cutover through a transaction pooler."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.data_layer import open_data_layer
from tests.cutover.following import ask, client, set_stage, until
from tests.fixtures.cutover import MakeSettings, Pair
from tests.pooler.bouncer import Bouncer
from tests.pooler.every_call import READS, WRITES

STAGES = ("dualwrite", "shadow", "live", "rampdown", "complete", "rampdown", "live", "shadow", "dualwrite", "off")


@pytest.mark.parametrize("chosen", ["database", "dualwrite"])
async def test_every_stage(pair: Pair, settings_of: MakeSettings, transaction_pooler: Bouncer, chosen: str) -> None:
    before = transaction_pooler.sessions(pair.target)
    settings = settings_of(
        database_url=transaction_pooler.url(pair.target), cutover_stage=chosen, note_timeout=20.0, mirror_wait=20.0
    )
    if chosen != "database":
        pair.set_stage(chosen)
    async with open_data_layer(settings) as data:
        for stage in STAGES if chosen == "database" else (chosen,):
            await set_stage(pair, stage)
            await until(pair, "SELECT stage FROM botdata.processes", [(stage,)])
            row = client(name=stage)
            assert (await data.upsert_client(row)).error is None
            answer = await data.get_client_by_id(7)
            assert answer.data is not None
            assert answer.data.name == stage
            stores = {"off": ["source"], "complete": ["target"]}.get(stage, ["source", "target"])
            for store in stores:
                assert await ask(pair, "SELECT name FROM clients", store=store) == [(stage,)]
            if stage != "complete":  # which keeps its entries
                await until(pair, "SELECT id FROM botdata.notes UNION ALL SELECT id FROM botdata.outbox", [])
    assert await ask(pair, "SELECT FROM botdata.processes") == []
    assert transaction_pooler.sessions(pair.target) == before


@pytest.mark.parametrize("stage", ["shadow", "live", "complete"])
async def test_no_method_leaves_anything(
    pair: Pair, settings_of: MakeSettings, transaction_pooler: Bouncer, stage: str
) -> None:
    """Another client of the same server process asks after each: settings, prepared statements, channels, tables."""

    async def sessions() -> list[dict[str, Any]]:
        # Locks are asked for at the end: those of this process's own heartbeat come and go. In a thread, since a
        # transaction of this process may have to end first.
        found = await asyncio.to_thread(transaction_pooler.sessions, pair.target)
        return [{**one, "locks": None} for one in found]

    before = transaction_pooler.sessions(pair.target)
    unlocked = await sessions()
    settings = settings_of(database_url=transaction_pooler.url(pair.target), note_timeout=20.0, mirror_wait=20.0)
    pair.set_stage(stage)
    async with open_data_layer(settings) as data:
        for name, call in (READS | WRITES).items():
            assert (await call(data)).success, name
            assert await sessions() == unlocked, name
    assert transaction_pooler.sessions(pair.target) == before
