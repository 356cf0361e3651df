"""A bot's process goes through every stage of a cutover through a transaction pooler."""

from __future__ import annotations

import pytest

from app.data_layer import open_data_layer
from tests.cutover.following import ask, client, set_stage, until
from tests.fixtures.cutover import MakeSettings, Pair
from tests.pooler.bouncer import Bouncer

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
