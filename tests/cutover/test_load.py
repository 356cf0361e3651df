"""The whole way there and back while bot processes read and write.

`python benchmarks/cutover_load.py` does it with 8 processes, ten times over.
"""

from __future__ import annotations

import json
import time

import pytest

from app.cutover.stages import Stage, Store
from tests.cutover.load import Bots, step, there_and_back
from tests.cutover.servers import Servers
from tests.handover.histories import Move, accepts, of_load


@pytest.mark.soak
def test_there_and_back_under_load(servers: Servers) -> None:
    moves = []
    with Bots(servers, 3) as bots:
        for stage in there_and_back():
            before, last = Stage(servers.stage), time.monotonic()
            step(servers, stage)
            if before.authority is not stage.authority:
                moves.append(Move(last, time.monotonic()))
    history = bots.history
    assert servers.stage == Stage.OFF
    assert history.errors == []
    assert history.stale == []
    assert history.acknowledged > 100
    # What was written at the last stage, `off`, is for the next sync to bring.
    assert history.lost(servers.tokens(Store.POSTGRES), before=last) == []
    servers.botdata("sync")
    for store in Store:
        assert history.lost(servers.tokens(store)) == []
    held = servers.tokens(Store.SUPABASE)
    # The model has three processes; every task of the load is one.
    few = {key: writes for key, writes in history.writes.items() if len({write.writer for write in writes}) <= 3}
    assert len(few) > 20
    assert [key for key, writes in few.items() if not accepts(of_load(writes), moves, held.get(key))] == []
    assert servers.differing() == []
    report = json.loads(servers.botdata("cutover", "report", "--json").out)
    assert report["differences"] == []
    assert sum(method["equal"] for method in report["methods"]) > 10
