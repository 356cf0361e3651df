"""The way to `live` under load beside a change stream, which is the sync that the gates ask for."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from app.cutover.stages import Stage, Store
from tests.cutover.load import THRESHOLDS, Bots, settle
from tests.cutover.servers import Servers

_STAFF = "INSERT INTO staff (id, yclients_id, company_id, name) VALUES ({0}, {0}, 1, 's')"


@pytest.fixture
def logical_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """Both stores, with a Supabase that decodes its log."""
    monkeypatch.setattr("app.embedded.postgres._NOT_DURABLE", ("fsync=off", "wal_level=logical"))
    with TemporaryDirectory(prefix="botdata-load-") as directory:
        Path(directory).chmod(0o755)  # a PostgreSQL that root starts runs as another user
        with Servers(Path(directory)) as both:
            both.reset()
            yield both


@pytest.mark.soak
def test_to_live_beside_a_stream(logical_servers: Servers) -> None:
    """No call fails and no row is lost; a table that no method writes goes on by the stream."""
    servers, source = logical_servers, logical_servers.url(Store.SUPABASE)
    words = ("--follow", "--by", "stream", "--accept-unbounded-wal", "--source", source)
    servers.botdata("sync", "--source", source, "--overwrite")  # it was moved by the address of the REST API
    following = servers.start_botdata("sync", *words)
    added = 1000
    try:
        with Bots(servers, 2) as bots:
            for stage in (Stage.DUALWRITE, Stage.SHADOW, Stage.LIVE):
                deadline = time.monotonic() + 100
                while servers.stage != stage:
                    added += 1
                    servers.ask(Store.SUPABASE, _STAFF.format(added))
                    if stage is not Stage.DUALWRITE:
                        servers.botdata("verify", "--source", source, refusable=True)
                    said = servers.botdata("cutover", "advance", *THRESHOLDS, refusable=True)
                    assert following.poll() is None, following.communicate()[0]
                    assert time.monotonic() < deadline, said.text
                    time.sleep(0.5)
                bots.write_on(30)
            servers.ask(Store.SUPABASE, _STAFF.format(added + 1))
            settle(servers, bots)
        history = bots.history
        while len(servers.ask(Store.POSTGRES, f"SELECT FROM staff WHERE id = {added + 1}")) == 0:
            assert following.poll() is None, following.communicate()[0]
            time.sleep(0.2)
    finally:
        following.send_signal(signal.SIGTERM)
        output, _ = following.communicate(timeout=60)
    assert following.returncode == 0, output
    assert "by the change stream" in output
    assert (history.errors, history.stale) == ([], [])
    assert history.acknowledged > 90
    servers.botdata("mirror", "drain")
    for store in Store:
        assert history.lost(servers.tokens(store)) == []
    assert servers.differing() == []
