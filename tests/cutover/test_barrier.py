"""The barrier: either the authority moves while no process writes, or the old stage resumes and it is said why."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import pytest

from app.cutover.moves.forget import forget
from app.cutover.moves.steps import MoveOutcome, advance, back
from app.cutover.stages import Stage
from app.errors import MigrationError
from tests.cutover.reporting import ONE, reporting, wait_until
from tests.fixtures.cutover import MakeSettings, Pair


def _given_up_because(pair: Pair, outcome: MoveOutcome, stage: str) -> str:
    """Hold the outcome of a move that was given up against the target, and give the reason that was kept."""
    assert (outcome.moved, outcome.ok) == (False, False)
    assert pair.ask("SELECT stage FROM botdata.stage") == [(stage,)]
    ((state, said),) = pair.ask("SELECT state, said FROM botdata.moves ORDER BY id DESC LIMIT 1")
    assert state == "given up"
    assert said == "; ".join(late.what for late in outcome.late)
    assert all(late.remedy for late in outcome.late)
    return str(said)


async def test_a_process_that_goes_on_writing(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("shadow")
    async with reporting(pair.target, ONE), reporting(pair.target, "two:2:000000", holds=False) as deaf:
        deaf.in_flight = 3
        await wait_until(pair, "EXISTS (SELECT FROM botdata.processes WHERE in_flight = 3)")
        outcome = await advance(settings_of(cutover_hold=1.0), force="a test")
        said = _given_up_because(pair, outcome, "shadow")
        assert "two:2:000000" in said
        assert "3 calls in flight" in said
        assert ONE not in said
        deaf.holds = True
        assert (await advance(settings_of(), force="a test")).ok


async def test_a_process_that_has_stopped_reporting(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("shadow")
    pair.ask(
        "INSERT INTO botdata.processes (name, stage, chosen_by, reported_at) "
        "VALUES ('gone:1:000000', 'shadow', 'CUTOVER_STAGE=database', now() - interval '1 hour')"
    )
    outcome = await advance(settings_of(cutover_hold=0.3), force="a test")
    assert "gone:1:000000: no report for 3,6" in _given_up_because(pair, outcome, "shadow")
    assert "botdata cutover forget gone:1:000000" in outcome.late[0].remedy


@pytest.mark.parametrize(
    ("stage", "move", "statement", "told"),
    [
        (
            "shadow",
            advance,
            "INSERT INTO botdata.notes (process, table_name, key, last_error) "
            "VALUES ('x', 'clients', '{7}', 'refused')",
            "clients: 1 notes whose rows PostgreSQL may not have (last error: refused)",
        ),
        (
            "live",
            back,
            f"INSERT INTO botdata.outbox (process, table_name, key) VALUES ('{ONE}', 'clients', '{{7}}')",
            "clients: 1 entries in the outbox, not known to be in Supabase",
        ),
        (
            "shadow",
            advance,
            f"UPDATE botdata.processes SET spooled = 2 WHERE name = '{ONE}'",
            f"process {ONE}: 2 notes in its spool file",
        ),
    ],
)
async def test_mirrors_that_do_not_settle(
    pair: Pair,
    settings_of: MakeSettings,
    stage: str,
    move: Callable[..., Awaitable[MoveOutcome]],
    statement: str,
    told: str,
) -> None:
    pair.set_stage(stage)
    async with reporting(pair.target, ONE):
        pair.ask(statement)
        outcome = await move(settings_of(cutover_hold=1.0), force="a test")
        assert told in _given_up_because(pair, outcome, stage)
        pair.ask("DELETE FROM botdata.notes; DELETE FROM botdata.outbox; UPDATE botdata.processes SET spooled = 0")
        assert (await move(settings_of(), force="a test")).ok


async def test_a_transaction_that_does_not_end(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("live")
    async with reporting(pair.target, ONE):
        with psycopg.connect(pair.target, application_name="a bot's write") as writing:
            writing.execute("SELECT FROM botdata.stage FOR SHARE")
            outcome = await back(settings_of(cutover_hold=1.0))
            assert f"a bot's write (pid {writing.info.backend_pid}" in _given_up_because(pair, outcome, "live")
        assert (await back(settings_of())).ok


async def test_a_process_that_registers_in_the_last_moment(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("shadow")
    async with await psycopg.AsyncConnection.connect(pair.target) as registering:
        await registering.execute("SELECT FROM botdata.stage FOR SHARE")
        await registering.execute(
            "INSERT INTO botdata.processes (name, stage, chosen_by) "
            "VALUES ('new:1:000000', 'shadow', 'CUTOVER_STAGE=database')"
        )
        moving = asyncio.create_task(advance(settings_of(cutover_hold=1.0), force="a test"))
        await wait_until(
            pair,
            "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'botdata cutover advance' "
            "AND wait_event_type = 'Lock' AND datname = current_database())",
        )
        await registering.commit()
        assert "new:1:000000" in _given_up_because(pair, await moving, "shadow")


async def test_a_move_that_a_process_gave_up(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("shadow")
    async with reporting(pair.target, ONE, holds=False) as process:
        moving = asyncio.create_task(advance(settings_of(cutover_hold=30), force="a test"))
        await wait_until(pair, "EXISTS (SELECT FROM botdata.moves WHERE state = 'holding')")
        pair.ask("UPDATE botdata.moves SET state = 'given up', said = 'its time was up'")
        assert ONE in _given_up_because(pair, await moving, "shadow")  # the process could not say who was late
        process.holds = True
        assert (await advance(settings_of(), force="a test")).ok


async def test_a_step_beside_a_transaction_that_does_not_end(
    pair: Pair, settings_of: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cutover.moves.stage_row._TRIES", 2)
    monkeypatch.setattr("app.cutover.moves.stage_row._BETWEEN", 0.02)
    pair.set_stage("live")
    with psycopg.connect(pair.target, application_name="a bot's write") as writing:
        writing.execute("SELECT FROM botdata.stage FOR SHARE")
        with pytest.raises(MigrationError, match=rf"holds the stage: a bot's write \(pid {writing.info.backend_pid}"):
            await advance(settings_of(), force="a test")
    assert pair.ask("SELECT stage FROM botdata.stage") == [("live",)]


async def test_a_process_that_does_not_follow(
    pair: Pair, settings_of: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cutover.moves.steps._FOLLOW_WITHIN", 0.5)
    pair.set_stage("dualwrite")
    async with reporting(pair.target, ONE), reporting(pair.target, "late:2:000000", fixed=Stage.DUALWRITE):
        outcome = await advance(settings_of(), force="a test")
    assert (outcome.moved, outcome.ok) == (True, False)
    assert [(process.name, process.stage) for process in outcome.behind] == [("late:2:000000", "dualwrite")]


async def test_a_process_that_is_forgotten_while_the_move_holds(pair: Pair, settings_of: MakeSettings) -> None:
    """It may have written what is noted in its spool file alone, since the gates looked."""
    pair.set_stage("shadow")
    async with reporting(pair.target, ONE, holds=False):
        moving = asyncio.create_task(advance(settings_of(cutover_hold=3), force="a test"))
        await wait_until(pair, "EXISTS (SELECT FROM botdata.moves WHERE state = 'holding')")
        await forget(settings_of(), ONE, force="a test")
        outcome = await moving
    told = "since the gates looked a process was forgotten, or a write was left to a sync"
    assert [one.what for one in outcome.late] == [told]
    assert pair.ask("SELECT stage FROM botdata.stage") == [("shadow",)]
    assert pair.ask("SELECT state, said FROM botdata.moves WHERE kind = 'advance'") == [("given up", told)]


async def test_a_process_whose_last_request_may_still_land_is_not_forgotten(
    pair: Pair, settings_of: MakeSettings
) -> None:
    pair.set_stage("shadow")
    pair.ask(
        "INSERT INTO botdata.processes (name, stage, chosen_by, reported_at) "
        f"VALUES ('{ONE}', 'shadow', 'CUTOVER_STAGE=database', now() - interval '50 seconds')"
    )
    with pytest.raises(MigrationError, match="what it sent to Supabase may land for OUTCOME_SETTLES_AFTER, 60 s"):
        await forget(settings_of(outcome_settles_after=60), ONE)
    pair.set_stage("live")
    assert (await forget(settings_of(outcome_settles_after=60), ONE)).name == ONE
