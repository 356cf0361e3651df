"""A process that is cut off from the target while the others go on: it is never a second authority."""

from __future__ import annotations

import signal
import time
from subprocess import Popen

import pytest

from app.cutover.stages import Stage, Store
from tests.cutover.history import History
from tests.cutover.load import Bots, go_to, step
from tests.cutover.servers import Servers
from tests.support.relay import Relay

_SILENT = 4.0  # seconds; longer than a process may be


def _process_of(servers: Servers, running: Popen[bytes]) -> str:
    name: str
    ((name,),) = servers.ask(Store.POSTGRES, f"SELECT name FROM botdata.processes WHERE name ~ ':{running.pid}:'")
    return name


def _wait_until(servers: Servers, name: str, condition: str) -> None:
    """Until the process's row is so."""
    deadline = time.monotonic() + 60
    while not servers.ask(Store.POSTGRES, f"SELECT FROM botdata.processes WHERE name = '{name}' AND {condition}"):
        assert time.monotonic() < deadline, f"{name}: {condition}"
        time.sleep(0.1)


def _wait_until_silent(servers: Servers, name: str) -> None:
    _wait_until(servers, name, f"reported_at < clock_timestamp() - interval '{_SILENT} seconds'")


def _wait_until_back(servers: Servers, name: str) -> None:
    _wait_until(servers, name, "reported_at > clock_timestamp() - interval '1 second' AND problem IS NULL")


@pytest.fixture
def own_way(servers: Servers) -> Relay:
    """A way to the target for one process alone."""
    return servers.another_way(Store.POSTGRES)


@pytest.mark.soak
def test_the_authority_does_not_move_without_it(servers: Servers, own_way: Relay) -> None:
    go_to(servers, Stage.SHADOW)
    with (
        Bots(servers, 2) as others,
        Bots(servers, 1, "alone", first=5, DATABASE_URL=servers.database_url(own_way)) as alone,
    ):
        name = _process_of(servers, alone.processes[0])
        alone.write_on(3)
        own_way.cut()
        _wait_until_silent(servers, name)
        refused = servers.botdata("cutover", "advance", "--force", "a test", refusable=True)
        assert refused.code == 1
        assert name in refused.text
        assert servers.stage == Stage.SHADOW
        own_way.heal()
        _wait_until_back(servers, name)
        step(servers, Stage.LIVE)
        own_way.cut()
        cut_at = time.monotonic()
        _wait_until_silent(servers, name)
        assert servers.botdata("cutover", "back", "--force", "a test", refusable=True).code == 1
        assert servers.stage == Stage.LIVE
        own_way.heal()
        healed_at = time.monotonic()
        _wait_until_back(servers, name)
        step(servers, Stage.SHADOW)
    assert others.history.errors == []
    mine = alone.history
    assert {answer.code for answer in mine.errors} <= {"unavailable", "timeout", "outcome_unknown"}
    assert all(cut_at < answer.ended < healed_at + 15 for answer in mine.errors)
    servers.botdata("sync")
    for store in Store:
        assert History.read([*others.logs, *alone.logs]).lost(servers.tokens(store)) == []
    assert servers.differing() == []


def test_one_that_held_its_writes_does_not_resume_them_unread(servers: Servers, own_way: Relay) -> None:
    """It is cut off after it reported its hold, and the authority moves without its hearing of it."""
    go_to(servers, Stage.SHADOW)
    with (
        Bots(servers, 1) as others,
        Bots(servers, 1, "alone", first=5, DATABASE_URL=servers.database_url(own_way), LOAD_READS="0.1") as alone,
    ):
        name = _process_of(servers, alone.processes[0])
        alone.write_on(3)
        others.processes[0].send_signal(signal.SIGSTOP)  # so that the move waits
        moving = servers.start_botdata("cutover", "advance", "--force", "a test", CUTOVER_HOLD="20")
        try:
            _wait_until(servers, name, "held_move IS NOT NULL")
            own_way.cut()
            cut_at = time.monotonic()
        finally:
            others.processes[0].send_signal(signal.SIGCONT)
            said = moving.communicate(timeout=90)[0]
        assert name in said  # it does not report the new stage
        assert servers.stage == Stage.LIVE
        _wait_until_silent(servers, name)
        alone_wrote = [w for writes in alone.history.writes.values() for w in writes if w.ended and w.began > cut_at]
        assert alone_wrote == []
        codes = {answer.code for answer in alone.history.answers if answer.began > cut_at and "upsert" in answer.method}
        assert codes <= {"unavailable"}
        own_way.heal()
        healed_at = time.monotonic()
        _wait_until_back(servers, name)
        deadline = time.monotonic() + 60
        while not any(w.ended and w.began > healed_at for writes in alone.history.writes.values() for w in writes):
            assert time.monotonic() < deadline, "it does not write again"
            time.sleep(0.1)
    assert others.history.errors == []
    servers.botdata("mirror", "drain")
    for store in Store:
        assert History.read([*others.logs, *alone.logs]).lost(servers.tokens(store)) == []
    assert servers.differing() == []
