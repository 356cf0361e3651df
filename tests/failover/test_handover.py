"""A handover whose commit a synchronous standby does not confirm."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from psycopg import AsyncConnection

from app.cutover.moves import handover
from app.cutover.moves.forget import forget
from app.cutover.moves.handover import Crossing, cross
from app.cutover.moves.stage_row import MoveUnknownError, require_standby
from app.cutover.moves.status import see
from app.cutover.moves.steps import advance
from app.cutover.stages import Stage
from app.errors import MigrationError
from app.migration.runs.pausing import pause, resume
from app.migration.target.target_session import open_target
from app.state.cutover.moves import give_up_expired
from tests.failover.clusters import DATABASE, bot_cluster, set_stage, settings_for
from tests.support.streaming import Cluster

_ADVANCE = Crossing("advance", Stage.SHADOW, Stage.LIVE, 6.0)


@pytest.fixture
def at_shadow() -> Iterator[Cluster]:
    with bot_cluster() as cluster:
        set_stage(cluster, Stage.SHADOW)
        yield cluster


async def _cross(cluster: Cluster) -> None:
    url = cluster.url(DATABASE)
    async with open_target(url, step="test") as connection:
        assert await cross(url, connection, _ADVANCE) == ()


def _row(cluster: Cluster) -> tuple[object, ...]:
    ((stage, moves, timeline, state),) = cluster.primary.execute(
        "SELECT stage, moves, timeline, (SELECT max(state) FROM botdata.moves WHERE ended_at IS NULL) "
        "FROM botdata.stage",
        DATABASE,
    )
    return stage, moves, timeline, state


async def test_it_tries_the_standby_before_anything_is_written(at_shadow: Cluster) -> None:
    at_shadow.standbys[0].hang()
    with pytest.raises(MigrationError, match="no commit can be made: the commit did not end within 3 s") as stopped:
        await _cross(at_shadow)
    assert not isinstance(stopped.value, MoveUnknownError)
    assert _row(at_shadow) == ("shadow", 1, 1, None)
    at_shadow.standbys[0].wake()
    await _cross(at_shadow)
    assert _row(at_shadow) == ("live", 2, 1, None)


async def test_it_is_given_up_where_the_standby_goes_away_at_the_barrier(
    at_shadow: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    async def gone_and_tried(connection: AsyncConnection, *, step: str) -> None:
        tries.append(step)
        if len(tries) == 2:
            assert _row(at_shadow) == ("shadow", 1, 1, "holding")
            at_shadow.standbys[0].hang()
        await require_standby(connection, step=step)

    monkeypatch.setattr(handover, "require_standby", gone_and_tried)
    with pytest.raises(MigrationError, match="no commit can be made"):
        await _cross(at_shadow)
    assert _row(at_shadow) == ("shadow", 1, 1, None)  # the standby is away still


async def test_no_other_change_of_the_cutover_waits_for_it_nor_does_a_pause(at_shadow: Cluster) -> None:
    set_stage(at_shadow, Stage.LIVE)
    url = at_shadow.url(DATABASE)
    settings = settings_for(url)
    at_shadow.standbys[0].hang()
    for change in (advance(settings, force="it is tried"), forget(settings, "nobody")):
        with pytest.raises(MigrationError, match="no commit can be made") as stopped:
            await change
        assert not isinstance(stopped.value, MoveUnknownError)
    assert _row(at_shadow) == ("live", 2, 1, None)
    async with open_target(url, step="test") as connection:
        (away,) = (await see(connection)).troubles
    assert "no write is answered as done" in away.what
    assert (await pause(url, None, 0, lambda message: None)).is_new
    assert (await resume(url))[0] is not None


@pytest.mark.parametrize("then", ["the standby comes back", "the primary dies"])
async def test_the_barrier_stays_while_its_commit_is_unknown(
    at_shadow: Cluster, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    (standby,) = at_shadow.standbys
    tries: list[str] = []

    async def tried_and_gone(connection: AsyncConnection, *, step: str) -> None:
        await require_standby(connection, step=step)
        tries.append(step)
        if len(tries) == 2:  # right before the stage is written
            standby.hang()

    monkeypatch.setattr(handover, "require_standby", tried_and_gone)
    with pytest.raises(MoveUnknownError, match="the row of the stage says shadow, of move 1"):
        await _cross(at_shadow)
    assert _row(at_shadow) == ("shadow", 1, 1, "holding")
    if then == "the standby comes back":
        await asyncio.sleep(4.0)  # the hold is over, and nobody can end the move while its commit is under way
        assert _row(at_shadow) == ("shadow", 1, 1, "holding")
        standby.wake()
        for _ in range(3000):
            if _row(at_shadow) == ("live", 2, 1, None):
                return
            await asyncio.sleep(0.02)
        raise AssertionError(_row(at_shadow))
    at_shadow.primary.kill()
    standby.wake()
    at_shadow.promote(standby)
    stage, moves, timeline, _ = _row(at_shadow)
    assert (stage, moves, timeline) in {("shadow", 1, 1), ("live", 2, 1)}  # the log may have been on its way
    if stage == "shadow":
        await asyncio.sleep(4.0)
        async with open_target(at_shadow.url(DATABASE), step="test") as connection:
            await give_up_expired(connection)
        await _cross(at_shadow)
        assert _row(at_shadow) == ("live", 2, 2, None)
