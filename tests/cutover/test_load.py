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


@pytest.mark.soak
def test_there_and_back_under_load(servers: Servers) -> None:
    with Bots(servers, 3) as bots:
        for stage in there_and_back():
            last = time.monotonic()
            step(servers, stage)
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
    assert servers.differing() == []
    report = json.loads(servers.botdata("cutover", "report", "--json").out)
    assert report["differences"] == []
    assert sum(method["equal"] for method in report["methods"]) > 10
