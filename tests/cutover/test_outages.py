"""Each store killed and started again, hung, slow or cut off under load.

`python benchmarks/cutover_load.py --outages` does it with 8 processes, and prints the latencies.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from app.cutover.stages import Stage, Store
from tests.cutover.load import there_and_back
from tests.cutover.outages import KINDS, Planned, load_in_trouble, unexpected
from tests.cutover.servers import Servers

# Every stage, and each trouble of each store.
_EACH = [
    (Stage.OFF, Store.SUPABASE, "kill"),
    (Stage.OFF, Store.POSTGRES, "cut"),
    (Stage.DUALWRITE, Store.POSTGRES, "hang"),
    (Stage.SHADOW, Store.SUPABASE, "slow"),
    (Stage.LIVE, Store.POSTGRES, "kill"),
    (Stage.LIVE, Store.SUPABASE, "cut"),
    (Stage.RAMPDOWN, Store.SUPABASE, "hang"),
    (Stage.COMPLETE, Store.POSTGRES, "slow"),
]


def _nothing_is_lost(servers: Servers, planned: Iterable[Planned]) -> None:
    history, troubles, _ = load_in_trouble(servers, 2, 4, planned)
    if servers.stage == Stage.COMPLETE:
        servers.botdata("cutover", "back")
        servers.botdata("mirror", "drain")
    else:
        servers.botdata("sync")
    assert unexpected(history, troubles) == []
    assert history.stale == []
    for store in Store:
        assert history.lost(servers.tokens(store)) == []
    assert servers.differing() == []


@pytest.mark.budget(60)
def test_no_acknowledged_write_is_lost_whatever_happens_to_a_store(servers: Servers) -> None:
    assert {one[1:] for one in _EACH} == {(store, kind) for store in Store for kind in KINDS}
    assert list(dict.fromkeys(stage for stage, _, _ in _EACH)) == list(Stage)
    _nothing_is_lost(servers, _EACH)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("store", list(Store))
def test_a_trouble_at_every_stage_there_and_back(servers: Servers, store: Store, kind: str) -> None:
    _nothing_is_lost(servers, [(stage, store, kind) for stage in [Stage.OFF, *there_and_back()]])
