"""Generated pairs by every path: what the commands call complete or clean is so. The thousand are in tests/chaos."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.fidelity.generate import generate
from tests.fidelity.pair import Offers
from tests.fidelity.paths import travel
from tests.fidelity.places import make_owner, offers_of
from tests.support.postgres import PostgresServer

_SEEDS = range(42)


@pytest.fixture(scope="module")
def offers(separate_server: PostgresServer) -> Offers:
    """What the server can do; a test is skipped where it gives no superuser, since the pairs need one."""
    with psycopg.connect(separate_server.admin_url) as connection:
        superuser = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    if superuser != (True,):
        pytest.skip("the server's role is no superuser")
    make_owner(separate_server.admin_url)
    return offers_of(separate_server.admin_url)


@pytest.mark.parametrize("seed", _SEEDS)
def test_what_is_claimed_is_so(seed: int, separate_server: PostgresServer, offers: Offers, tmp_path: Path) -> None:
    result = travel(separate_server.admin_url, generate(seed, offers), tmp_path)
    assert not result.wrong, str(result)
