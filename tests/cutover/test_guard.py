"""Every write to PostgreSQL asks for the stage, whoever makes it, and leaves its keys in the outbox."""

from __future__ import annotations

import pytest

from app.cutover.guard import WriteGuard
from app.cutover.stages import Stage
from app.db import Database
from app.errors import AuthorityMovedError
from app.repositories import ClientRepository, UnitOfWork
from tests.cutover.conftest import Pair

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
