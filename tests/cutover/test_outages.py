"""Each store killed and started again, hung, slow or cut off at a random moment of each stage, under load.

`python benchmarks/cutover_load.py --outages` does it with 8 processes, and prints the latencies.
"""

from __future__ import annotations

from app.cutover.stages import Store
from tests.cutover.outages import there_and_back_in_trouble, unexpected
from tests.cutover.servers import Servers


def test_no_acknowledged_write_is_lost_whatever_happens_to_a_store(servers: Servers) -> None:
    history, troubles, _ = there_and_back_in_trouble(servers, 2, seed=4)
    assert {trouble.store for trouble in troubles} == set(Store)
    servers.botdata("sync")
    assert unexpected(history, troubles) == []
    assert history.stale == []
    for store in Store:
        assert history.lost(servers.tokens(store)) == []
    assert servers.differing() == []
