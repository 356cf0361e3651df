"""Every write to PostgreSQL asks for the stage, whoever makes it, and leaves its keys in the outbox."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from app.cutover.fencing import WriteGuard
from app.cutover.moves.stage_row import lock_stage_row, open_cutover
from app.cutover.stages import Stage
from app.data_layer import open_data_layer
from app.errors import AuthorityMovedError, UnavailableError
from app.repositories import ClientRepository, UnitOfWork
from app.state.cutover.stage import share_stage
from app.stores.postgres.database import Database
from tests.fixtures.cutover import MakeSettings, Pair

CLIENT = {"yclients_id": 7, "company_id": 1, "phone": "79990000001"}


@pytest.mark.parametrize("stage", ["live", "rampdown", "complete"])
async def test_a_write_and_its_entry_are_one_transaction(pair: Pair, stage: str) -> None:
    pair.set_stage(stage)
    database = Database(pair.target, guard=WriteGuard(process="p"))
    async with UnitOfWork(database) as work:
        await work.clients.upsert([CLIENT])
    assert pair.ask("SELECT FROM botdata.outbox") == []  # rolled back with the row
    async with database.writer() as connection:
        await ClientRepository(connection).upsert([CLIENT])
        await connection.commit()
    await database.close()
    assert pair.ask("SELECT process, table_name, key FROM botdata.outbox") == [("p", "clients", ["7", "1"])]


@pytest.mark.parametrize("stage", ["off", "dualwrite", "shadow"])
async def test_supabase_s_stages_refuse_a_write(pair: Pair, stage: str) -> None:
    pair.set_stage(stage)
    database = Database(pair.target)
    with pytest.raises(AuthorityMovedError, match=stage):
        async with UnitOfWork(database) as work:
            await work.clients.upsert([CLIENT])
    await database.close()
    assert pair.texts("clients", "target") == []


@pytest.mark.parametrize(("fixed", "entries"), [(None, 0), (Stage.COMPLETE, 1)])
async def test_a_row_that_no_command_moved_leaves_it_to_the_environment(
    pair: Pair, fixed: Stage | None, entries: int
) -> None:
    database = Database(pair.target, guard=WriteGuard(fixed))
    async with UnitOfWork(database) as work:
        await work.clients.upsert([CLIENT])
        await work.commit()
    await database.close()
    assert len(pair.ask("SELECT FROM botdata.outbox")) == entries
    assert len(pair.texts("clients", "target")) == 1


async def test_after_the_finish_nothing_is_recorded(pair: Pair) -> None:
    pair.set_stage("complete")
    pair.ask("UPDATE botdata.stage SET finished_at = now()")
    database = Database(pair.target)
    async with UnitOfWork(database) as work:
        await work.clients.upsert([CLIENT])
        await work.commit()
    await database.close()
    assert pair.ask("SELECT FROM botdata.outbox") == []


@pytest.mark.parametrize("fixed", [Stage.OFF, Stage.LIVE, Stage.RAMPDOWN])
async def test_without_the_row_nothing_is_written_that_could_not_be_recorded(pair: Pair, fixed: Stage) -> None:
    pair.ask("DROP SCHEMA botdata CASCADE")
    database = Database(pair.target, guard=WriteGuard(fixed))
    with pytest.raises(UnavailableError, match="the target has no stage to read"):
        async with UnitOfWork(database) as work:
            await work.clients.upsert([CLIENT])
    await database.close()
    assert pair.texts("clients", "target") == []


@pytest.mark.parametrize("take_away", ["DROP SCHEMA botdata CASCADE", "ALTER TABLE botdata.stage RENAME TO gone"])
@pytest.mark.parametrize("stage", ["+true", "complete"])
async def test_a_bot_at_the_end_goes_on_when_the_schema_is_dropped(
    pair: Pair, settings_of: MakeSettings, take_away: str, stage: str
) -> None:
    chosen = {"cutover_stage": None, "use_repository_pattern": True} if stage == "+true" else {"cutover_stage": stage}
    async with open_data_layer(settings_of(**chosen)) as data:
        assert (await data.upsert_client({**CLIENT, "name": "Анна"})).error is None
        await asyncio.to_thread(pair.ask, take_away)
        many = [
            data.upsert_client({**CLIENT, "yclients_id": n, "phone": f"7999000010{n}", "name": "x"})
            for n in range(1, 7)
        ]
        assert [answer.error for answer in await asyncio.gather(*many)] == [None] * 6
        for name in ("Вера", "Ольга"):
            assert (await data.upsert_client({**CLIENT, "name": name})).error is None
    assert pair.ask("SELECT name FROM clients WHERE name <> 'x'") == [("Ольга",)]


async def test_at_complete_the_outbox_grows_with_the_keys_and_not_with_the_writes(pair: Pair) -> None:
    pair.set_stage("complete")
    pair.ask(
        "INSERT INTO botdata.outbox (process, table_name, key, attempts, unsure, last_error) VALUES "
        "('q', 'clients', '{7,1}', 1, true, NULL), "  # a send of it may still land
        "('q', 'clients', '{7,1}', 2, false, 'refused'), ('q', 'services', '{7,1}', 0, false, NULL), "
        "('q', 'clients', '{8,1}', 0, false, NULL)"
    )
    database = Database(pair.target, guard=WriteGuard(process="p"))
    for committed in (True, True, False):
        async with UnitOfWork(database) as work:
            await work.clients.upsert([CLIENT, {**CLIENT, "yclients_id": 9}])
            if committed:
                await work.commit()
    before = (1, 2, 3, 4)
    found = pair.ask("SELECT id, table_name, key, unsure FROM botdata.outbox ORDER BY id")
    assert tuple(number for number, *_ in found[:4]) == before
    assert [entry[1:] for entry in found[4:]] == [("clients", ["7", "1"], False), ("clients", ["9", "1"], False)]
    # Whoever sends an older row just now holds the older entry: another one is left, and is not waited for.
    with psycopg.connect(pair.target) as sender:
        sender.execute("SELECT FROM botdata.outbox FOR UPDATE")
        async with UnitOfWork(database) as work:
            await work.clients.upsert([CLIENT])
            await work.commit()
        sender.execute("DELETE FROM botdata.outbox WHERE id <= %s", [found[-1][0]])
    await database.close()
    assert pair.ask("SELECT key FROM botdata.outbox") == [(["7", "1"],)]


@pytest.mark.parametrize("stage", ["rampdown", "shadow"])
async def test_writes_that_follow_on_each_other_do_not_keep_a_move_waiting(pair: Pair, stage: str) -> None:
    pair.set_stage(stage)
    database = Database(pair.target)
    ended = asyncio.Event()

    async def write_on() -> None:
        while not ended.is_set():
            async with database.writer() as connection:
                await share_stage(connection)
                await asyncio.sleep(0.1)  # as a slow disk does in a commit
                await connection.commit()

    writers = [asyncio.create_task(write_on()) for _ in range(8)]
    try:
        async with asyncio.timeout(60), open_cutover(pair.target, "test") as connection, connection.transaction():
            assert (await lock_stage_row(connection, "FOR UPDATE", step="test")).stage == stage
    finally:
        ended.set()
        await asyncio.gather(*writers)
        await database.close()
