"""The barrier: either the authority moves while no process writes, or the old stage resumes and it is said why."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.cutover.moves import handover as barrier
from app.cutover.moves.forget import forget
from app.cutover.moves.steps import MoveOutcome, advance, back
from app.cutover.stages import Stage
from app.errors import MigrationError
from tests.cli.command import start
from tests.cutover.reporting import reporting
from tests.fixtures.cutover import MakeSettings, Pair

ONE = "one:1:000000"


async def _until(pair: Pair, condition: str) -> None:
    for _ in range(1200):
        if pair.ask(f"SELECT {condition}") == [(True,)]:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(condition)


def _environment(pair: Pair) -> dict[str, str]:
    return {
        "DATABASE_URL": pair.target, "SUPABASE_URL": pair.supabase.url, "SUPABASE_KEY": pair.supabase.service_key,
        "CUTOVER_HOLD": "20",
    }  # fmt: skip


def _gave_up(pair: Pair, outcome: MoveOutcome, stage: str) -> str:
    """Hold the outcome of a move that was given up against the target, and give what was said."""
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
        await _until(pair, "EXISTS (SELECT FROM botdata.processes WHERE in_flight = 3)")
        outcome = await advance(settings_of(cutover_hold=0.5), force="a test")
        said = _gave_up(pair, outcome, "shadow")
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
    assert "gone:1:000000: no report for 3,6" in _gave_up(pair, outcome, "shadow")
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
        outcome = await move(settings_of(cutover_hold=0.5), force="a test")
        assert told in _gave_up(pair, outcome, stage)
        pair.ask("DELETE FROM botdata.notes; DELETE FROM botdata.outbox; UPDATE botdata.processes SET spooled = 0")
        assert (await move(settings_of(), force="a test")).ok


async def test_a_transaction_that_does_not_end(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("live")
    async with reporting(pair.target, ONE):
        with psycopg.connect(pair.target, application_name="a bot's write") as writing:
            writing.execute("SELECT FROM botdata.stage FOR SHARE")
            outcome = await back(settings_of(cutover_hold=0.5))
            assert f"a bot's write (pid {writing.info.backend_pid}" in _gave_up(pair, outcome, "live")
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
        await _until(
            pair,
            "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'botdata cutover advance' "
            "AND wait_event_type = 'Lock' AND datname = current_database())",
        )
        await registering.commit()
        assert "new:1:000000" in _gave_up(pair, await moving, "shadow")


async def test_a_move_that_a_process_gave_up(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("shadow")
    async with reporting(pair.target, ONE, holds=False) as process:
        moving = asyncio.create_task(advance(settings_of(cutover_hold=30), force="a test"))
        await _until(pair, "EXISTS (SELECT FROM botdata.moves WHERE state = 'holding')")
        pair.ask("UPDATE botdata.moves SET state = 'given up', said = 'its time was up'")
        assert ONE in _gave_up(pair, await moving, "shadow")  # the process could not say who was late
        process.holds = True
        assert (await advance(settings_of(), force="a test")).ok


async def test_the_time_that_runs_out_in_the_last_transaction(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("shadow")
    async with reporting(pair.target, ONE):
        with psycopg.connect(pair.target) as other:
            other.execute("SELECT FROM botdata.stage FOR SHARE")
            moving = asyncio.create_task(advance(settings_of(cutover_hold=20), force="a test"))
            await _until(
                pair,
                "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'botdata cutover advance' "
                "AND wait_event_type = 'Lock' AND datname = current_database())",
            )
            pair.ask("UPDATE botdata.moves SET hold_until = clock_timestamp()")
        outcome = await moving
        assert not outcome.moved
        assert pair.ask("SELECT stage FROM botdata.stage") == [("shadow",)]
        assert pair.ask("SELECT state FROM botdata.moves") == [("given up",)]


async def test_a_command_that_is_killed(pair: Pair, settings_of: MakeSettings, tmp_path: Path) -> None:
    pair.set_stage("shadow")
    async with reporting(pair.target, ONE, holds=False) as process:
        command = start("cutover", "advance", "--force", "a test", directory=tmp_path, **_environment(pair))
        try:
            await _until(pair, "EXISTS (SELECT FROM botdata.moves WHERE state = 'holding')")
        finally:
            command.send_signal(signal.SIGKILL)
            command.communicate()
        process.holds = True
        with pytest.raises(MigrationError, match=r"another move is under way: advance from shadow to live, by .*@"):
            await advance(settings_of(), force="a test")
        pair.ask("UPDATE botdata.moves SET hold_until = clock_timestamp()")
        assert (await advance(settings_of(), force="a test")).ok
        moves = pair.ask("SELECT state, said FROM botdata.moves ORDER BY id")
        assert moves[0] == ("given up", "its command ended before the move was done")
        assert moves[1][0] == "done"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_command_that_is_told_to_stop(pair: Pair, tmp_path: Path, number: signal.Signals) -> None:
    pair.set_stage("shadow")
    async with reporting(pair.target, ONE, holds=False):
        command = start("cutover", "advance", "--force", "a test", directory=tmp_path, **_environment(pair))
        try:
            await _until(pair, "EXISTS (SELECT FROM botdata.moves WHERE state = 'holding')")
            command.send_signal(number)
            await _until(pair, "EXISTS (SELECT FROM botdata.moves WHERE state = 'given up')")
            await asyncio.to_thread(command.communicate, timeout=60)
        finally:
            command.kill()
            command.communicate()
        assert command.returncode == 130
        assert pair.ask("SELECT stage FROM botdata.stage") == [("shadow",)]


async def test_a_command_that_hangs_in_its_last_transaction(
    pair: Pair, settings_of: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.set_stage("shadow")
    look = barrier._late
    hangs, goes_on = asyncio.Event(), asyncio.Event()
    stage_is_locked = (
        "FROM pg_locks WHERE relation = 'botdata.stage'::regclass AND mode = 'RowShareLock' AND granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )

    async def late(*arguments: Any) -> Any:
        found = await look(*arguments)
        if not found and pair.ask(f"SELECT {stage_is_locked}"):
            hangs.set()
            await goes_on.wait()
        return found

    monkeypatch.setattr(barrier, "_late", late)
    monkeypatch.setattr(barrier, "_SILENT", 0.2)
    async with reporting(pair.target, ONE):
        moving = asyncio.create_task(advance(settings_of(cutover_hold=60), force="a test"))
        await asyncio.wait_for(hangs.wait(), 60)
        await _until(pair, f"NOT EXISTS (SELECT {stage_is_locked})")
        pair.ask("SET lock_timeout = '1s'; UPDATE botdata.moves SET state = 'given up' WHERE state = 'holding'")
        goes_on.set()
        with pytest.raises(MigrationError):
            await moving
    assert pair.ask("SELECT stage, state FROM botdata.stage, botdata.moves") == [("shadow", "given up")]


@pytest.mark.parametrize("how", ["stopped by a person", "its connection is cut"])
async def test_a_command_that_ends_in_the_middle(pair: Pair, settings_of: MakeSettings, how: str) -> None:
    pair.set_stage("shadow")
    async with reporting(pair.target, ONE, holds=False):
        moving = asyncio.create_task(advance(settings_of(cutover_hold=30), force="a test"))
        await _until(pair, "EXISTS (SELECT FROM botdata.moves WHERE state = 'holding')")
        if how == "stopped by a person":
            moving.cancel()
            with suppress(asyncio.CancelledError):
                await moving
        else:
            pair.ask(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'botdata cutover advance' AND datname = current_database()"
            )
            with pytest.raises(MigrationError) as stopped:
                await moving
            assert stopped.value.pending == "nothing was changed"
        assert pair.ask("SELECT state, said FROM botdata.moves") == [("given up", "its command failed or was stopped")]
        assert pair.ask("SELECT stage FROM botdata.stage") == [("shadow",)]


async def test_a_command_that_is_stopped_as_it_asks_for_the_hold(
    pair: Pair, settings_of: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has committed, and does not hear of it: the processes need not hold their writes until the time is up."""
    pair.set_stage("shadow")
    transaction = psycopg.AsyncConnection.transaction

    @asynccontextmanager
    async def stopped(self: psycopg.AsyncConnection[Any]) -> AsyncIterator[None]:
        async with transaction(self):
            yield
        if pair.ask("SELECT FROM botdata.moves WHERE state = 'holding'"):
            raise asyncio.CancelledError

    monkeypatch.setattr(psycopg.AsyncConnection, "transaction", stopped)
    async with reporting(pair.target, ONE, holds=False):
        with pytest.raises(asyncio.CancelledError):
            await advance(settings_of(cutover_hold=30), force="a test")
    assert pair.ask("SELECT state, said FROM botdata.moves") == [("given up", "its command failed or was stopped")]


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


@pytest.mark.parametrize("stage", ["off", "shadow"])
async def test_two_commands_at_once(pair: Pair, settings_of: MakeSettings, stage: str) -> None:
    pair.set_stage(stage)
    async with reporting(pair.target, ONE):
        ended: list[Any] = await asyncio.gather(
            *(advance(settings_of(), force="a test") for _ in range(4)), return_exceptions=True
        )
        moved = [one for one in ended if isinstance(one, MoveOutcome)]
        assert [(one.moved, one.before) for one in moved] == [(True, stage)]
        assert all(isinstance(one, (MoveOutcome, MigrationError)) for one in ended)
        assert pair.ask("SELECT state FROM botdata.moves") == [("done",)]


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
        await _until(pair, "EXISTS (SELECT FROM botdata.moves WHERE state = 'holding')")
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
