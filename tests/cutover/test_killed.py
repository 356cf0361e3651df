"""Processes killed between the authority's commit and the mirror, at each stage: the mirror arrives all the same."""

from __future__ import annotations

import time

import psycopg

from app.cutover.stages import Stage, Store
from tests.cutover.load import Bots, forget_the_dead, go_to, settle
from tests.cutover.servers import Servers
from tests.support.matrix import combinations

_LOCK = "LOCK TABLE clients, dialog_contexts, services, staff_schedules, companies IN EXCLUSIVE MODE"


def _check(servers: Servers, bots: Bots) -> None:
    history = bots.history
    assert history.acknowledged >= 10
    assert history.errors == []
    for store in Store:
        assert history.lost(servers.tokens(store)) == []
    assert servers.differing() == []


def _wait_until_empty(servers: Servers, table: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while servers.ask(Store.POSTGRES, f"SELECT FROM botdata.{table}"):
        assert time.monotonic() < deadline, servers.ask(Store.POSTGRES, f"SELECT * FROM botdata.{table} LIMIT 5")
        time.sleep(0.2)


_HANGS, _LOCKED = "the target hangs", "the mirror waits for a lock"


@combinations(
    "stage, how",
    [Stage.OFF, Stage.DUALWRITE, Stage.SHADOW],
    [_HANGS, _LOCKED],
    each_time=[(Stage.OFF, _HANGS), (Stage.DUALWRITE, _LOCKED), (Stage.SHADOW, _HANGS)],
)
def test_what_supabase_was_given_is_repaired_by_the_next_sync(servers: Servers, stage: Stage, how: str) -> None:
    servers.settings |= {"OUTCOME_SETTLES_AFTER": "2", "NOTE_TIMEOUT": "2"}
    go_to(servers, stage)
    with Bots(servers, 1, LOAD_READS="0.2", LOAD_PAUSE="0.05") as bots:
        bots.write_on(5)
        with psycopg.connect(servers.url(Store.POSTGRES)) as connection:
            if how == _HANGS:
                servers.relays[Store.POSTGRES].hang()
            else:
                connection.execute(_LOCK)
            bots.write_on(10)
            bots.kill()
        servers.heal()
    left = bots.history.lost(servers.tokens(Store.POSTGRES))
    assert left != []
    forget_the_dead(servers)
    if stage is not Stage.OFF and how == _LOCKED:
        assert servers.ask(Store.POSTGRES, "SELECT FROM botdata.notes") != []
    with Bots(servers, 1, "next", first=5, LOAD_PAUSE="3600") as after:  # takes the spool of the dead ones in
        settle(servers, after)
        deadline = time.monotonic() + 60
        while servers.ask(Store.POSTGRES, "SELECT FROM botdata.notes"):  # until the writes of the dead have settled
            assert time.monotonic() < deadline
            time.sleep(0.2)
            servers.botdata("sync")
        servers.botdata("sync")
    _check(servers, bots)
    assert servers.ask(Store.POSTGRES, "SELECT FROM botdata.notes") == []


_OTHER, _COMMAND = "another process", "botdata mirror drain"


@combinations(
    "stage, by",
    [Stage.LIVE, Stage.RAMPDOWN],
    [_OTHER, _COMMAND],
    each_time=[(Stage.LIVE, _OTHER), (Stage.RAMPDOWN, _COMMAND)],
)
def test_what_postgresql_was_given_is_sent_by_a_relay(servers: Servers, stage: Stage, by: str) -> None:
    servers.settings["OUTCOME_SETTLES_AFTER"] = "2"
    go_to(servers, stage)
    with Bots(servers, 1, LOAD_READS="0.2", LOAD_PAUSE="0.05") as bots:
        bots.write_on(5)
        servers.relays[Store.SUPABASE].hang()
        bots.write_on(10)
        bots.kill()
        assert bots.history.lost(servers.tokens(Store.SUPABASE)) != []
    servers.heal()
    if by == _OTHER:
        with Bots(servers, 1, "next", first=5, LOAD_PAUSE="3600"):
            _wait_until_empty(servers, "outbox")
    else:
        servers.botdata("mirror", "drain")
    _check(servers, bots)
    assert servers.ask(Store.POSTGRES, "SELECT FROM botdata.outbox") == []


def test_what_complete_recorded_is_sent_on_the_way_back(servers: Servers) -> None:
    go_to(servers, Stage.COMPLETE)
    with Bots(servers, 1, LOAD_READS="0.2", LOAD_PAUSE="0.05") as bots:
        bots.write_on(10)
        bots.kill()
    assert bots.history.lost(servers.tokens(Store.SUPABASE)) != []
    forget_the_dead(servers)
    servers.botdata("cutover", "back")
    _wait_until_empty(servers, "outbox")
    _check(servers, bots)
