"""The command of a move that is killed, stopped or cut off, or that hangs, amid the barrier: it gives the move up."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.cutover.moves import handover
from app.cutover.moves.steps import MoveOutcome, advance
from app.errors import MigrationError
from tests.cli.command import start
from tests.cutover.reporting import ONE, reporting, wait_until
from tests.fixtures.cutover import MakeSettings, Pair


def _environment(pair: Pair) -> dict[str, str]:
    return {
        "DATABASE_URL": pair.target, "SUPABASE_URL": pair.supabase.url, "SUPABASE_KEY": pair.supabase.service_key,
        "CUTOVER_HOLD": "20",
    }  # fmt: skip


async def test_the_time_that_runs_out_in_the_last_transaction(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("shadow")
    async with reporting(pair.target, ONE):
        with psycopg.connect(pair.target) as other:
            other.execute("SELECT FROM botdata.stage FOR SHARE")
            moving = asyncio.create_task(advance(settings_of(cutover_hold=20), force="a test"))
            await wait_until(
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
            await wait_until(pair, "EXISTS (SELECT FROM botdata.moves WHERE state = 'holding')")
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
            await wait_until(pair, "EXISTS (SELECT FROM botdata.moves WHERE state = 'holding')")
            command.send_signal(number)
            await wait_until(pair, "EXISTS (SELECT FROM botdata.moves WHERE state = 'given up')")
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
    look = handover.Handover._late
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

    monkeypatch.setattr(handover.Handover, "_late", late)
    monkeypatch.setattr(handover, "_SILENT", 0.2)
    async with reporting(pair.target, ONE):
        moving = asyncio.create_task(advance(settings_of(cutover_hold=60), force="a test"))
        await asyncio.wait_for(hangs.wait(), 60)
        await wait_until(pair, f"NOT EXISTS (SELECT {stage_is_locked})")
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
        await wait_until(pair, "EXISTS (SELECT FROM botdata.moves WHERE state = 'holding')")
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
