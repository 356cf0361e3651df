"""The gates of the way back ask for less, and say what would be lost."""

from __future__ import annotations

from typing import Any

import pytest

from app.cutover.moves.gates.outbox_gate import unsent
from app.cutover.stages import Stage
from app.migration.target.target_session import open_target
from tests.fixtures.gates import Ready, says_one


@pytest.mark.parametrize("stage", [Stage.DUALWRITE, Stage.SHADOW, Stage.RAMPDOWN, Stage.COMPLETE])
async def test_back_asks_for_nothing_that_the_way_forward_does(ready: Ready, stage: Stage) -> None:
    ready.reach(stage)
    for table in ("synced_tables", "verifications", "comparisons", "processes"):
        ready.pair.ask(f"TRUNCATE botdata.{table}")
    ready.pair.ask("ALTER TABLE staff RENAME rating TO rated")
    assert stage.previous is not None
    assert await ready.against(stage.previous) == []


async def test_back_from_live_says_what_would_be_lost(ready: Ready) -> None:
    ready.reach(Stage.LIVE)
    assert await ready.against(Stage.SHADOW) == []
    add = "INSERT INTO botdata.outbox (process, table_name, key, attempts) VALUES "
    ready.pair.ask(add + "('host:1:abcdef', 'clients', '{1,1}', 0)")
    assert await ready.against(Stage.SHADOW) == []  # it is just being sent, and settles after the barrier
    ready.pair.ask(add + "('host:1:abcdef', 'services', '{1,1}', 2)")
    found = await ready.against(Stage.SHADOW)
    assert [one.loses_outbox for one in found] == [True, True]
    assert "services: 1 writes that Supabase does not have yet would be lost" in found[1].what


async def test_writes_that_are_on_their_way_are_no_loss_however_many_come_meanwhile(ready: Ready) -> None:
    ready.reach(Stage.LIVE)
    entry = "INSERT INTO botdata.outbox (process, table_name, key) VALUES ('host:1:abcdef', 'clients', '{7}')"
    ready.pair.ask(entry)
    async with open_target(ready.pair.target, step="test") as connection:
        execute = connection.execute

        async def busy(*given: Any, **options: Any) -> Any:
            cursor = await execute(*given, **options)
            ready.pair.ask(entry)  # another write, after each statement of the gate
            return cursor

        connection.execute = busy  # type: ignore[method-assign]
        assert await unsent(connection) == []
    ready.pair.ask("UPDATE botdata.outbox SET recorded_at = now() - interval '11 s' WHERE id = 1")
    (one,) = await ready.against(Stage.SHADOW)
    assert "clients: 2 writes that Supabase does not have yet would be lost" in one.what


async def test_back_from_live_a_table_of_its_own_that_the_bot_reads_would_stay_behind(ready: Ready) -> None:
    ready.reach(Stage.LIVE)
    ready.pair.ask(
        "INSERT INTO botdata.table_authority (table_name, authority) "
        "VALUES ('bookings', 'postgres'), ('messages', 'postgres')"
    )
    (one,) = await ready.against(Stage.SHADOW)
    assert ("bookings" in one.what, one.loses_outbox) == (True, False)
    assert "botdata sync --reverse --tables bookings" in one.remedy


async def test_back_after_the_finish(ready: Ready) -> None:
    ready.reach(Stage.COMPLETE)
    ready.pair.ask("UPDATE botdata.stage SET finished_at = now()")
    says_one(await ready.against(Stage.RAMPDOWN), "the way back was ended", "botdata sync --reverse")
