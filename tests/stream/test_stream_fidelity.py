"""Generated pairs by change streams, there and back: what the commands call complete or clean is so."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.migration.runs import beside_stream
from tests.fidelity.generate import generate
from tests.fidelity.paths import travel_by_stream
from tests.fidelity.places import make_owner, offers_of
from tests.support.postgres import PostgresServer


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(60))
def test_what_is_claimed_is_so(
    seed: int, logical_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside_stream, "_PATIENCE", 0.5)  # no stream follows while it is verified
    make_owner(logical_server.admin_url)
    result = travel_by_stream(logical_server.admin_url, generate(seed, offers_of(logical_server.admin_url)), tmp_path)
    assert not result.wrong, str(result)
