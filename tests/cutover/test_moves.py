"""Moves of the stage by one step, and what each leaves behind in the target."""

import asyncio
from itertools import pairwise

import psycopg

from app.cutover.moves.steps import advance, back
from app.cutover.replication.to_supabase import locked_rows as held_rows
from app.cutover.stages import Stage
from app.migration.target.target_session import open_target
from app.state.cutover.stage import lock_holders, share_stage
from app.state.fetching import fetch_value
from app.stores.postgres.database import Database
from tests.cutover.reporting import reporting
from tests.fixtures.cutover import MakeSettings, Pair
from tests.fixtures.servers import tool_template
from tests.support.postgres import PostgresServer


async def test_from_off_to_complete_and_back(pair: Pair, settings_of: MakeSettings) -> None:
    settings = settings_of()
    async with reporting(pair.target, "one:1:000000", "two:2:000000"):
        for move, kind, stages in ((advance, "advance", list(Stage)), (back, "back", list(reversed(Stage)))):
            for before, to in pairwise(stages):
                outcome = await move(settings, force="a test")
                assert (outcome.before, outcome.to, outcome.moved, outcome.ok) == (before, to, True, True)
                assert pair.ask("SELECT stage, moved_at IS NOT NULL FROM botdata.stage") == [(to, True)]
                newest = pair.ask(
                    "SELECT kind, from_stage, to_stage, state FROM botdata.moves ORDER BY id DESC LIMIT 1"
                )
                assert newest == [(kind, before, to, "done")]


async def test_senders_that_follow_on_each_other_do_not_keep_a_move_waiting(
    pair: Pair, settings_of: MakeSettings
) -> None:
    """There is always one that shares the stage over its request to Supabase."""
    pair.set_stage("live")
    database = Database(pair.target)

    sent = [0] * 4

    async def send_on(number: int) -> None:
        await asyncio.sleep(number / 20)
        while True:
            async with database.writer() as connection:
                await held_rows.set_up(connection, lock_timeout=5.0, idle=15.0)
                await share_stage(connection)
                sent[number] += 1
                await asyncio.sleep(0.2)

    senders = [asyncio.create_task(send_on(number)) for number in range(4)]
    try:
        async with asyncio.timeout(60):
            while not all(sent):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        async with asyncio.timeout(60), reporting(pair.target, "one:1:000000"):
            assert (await advance(settings_of(), force="a test")).moved
        assert not any(sender.done() for sender in senders)
    finally:
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
        await database.close()


async def test_a_sender_waits_for_locks_and_keeps_them_as_long_as_it_says(pair: Pair) -> None:
    """The server gives the locks of one that is cut off back, and not before its request has had its time."""
    database = Database(pair.target)
    async with database.writer() as connection:
        await held_rows.set_up(connection, lock_timeout=2.5, idle=15.0)
        names = ("lock_timeout", "idle_in_transaction_session_timeout")
        assert [await fetch_value(connection, f"SHOW {name}") for name in names] == ["2500ms", "15s"]
    await database.close()


async def test_who_holds_the_row_of_a_clone_is_not_named(pair: Pair, databases: PostgresServer) -> None:
    """The row's table has the same number in both."""
    clone = databases.create_database(template=tool_template(databases))
    try:
        with psycopg.connect(pair.target) as here, psycopg.connect(clone) as beside:
            for holder in (here, beside):
                holder.execute("SELECT FROM botdata.stage FOR SHARE")
            async with open_target(pair.target, step="test") as connection:
                named = await lock_holders(connection)
            assert f"pid {here.info.backend_pid}," in named
            assert f"pid {beside.info.backend_pid}," not in named
    finally:
        databases.drop_database(clone)
