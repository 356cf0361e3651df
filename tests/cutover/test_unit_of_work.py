"""What fails in PostgreSQL while it is the authority fails whole: no row without its entry, and no entry without it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.cutover.fencing import WriteGuard
from app.errors import AccessDeniedError, DataError, OutcomeUnknownError, SchemaMismatchError, StoreTimeoutError
from app.repositories import UnitOfWork
from app.stores.postgres.database import Database
from tests.cutover.outbox_writers import client, entries
from tests.fixtures.cutover import Pair


@pytest.fixture
async def database(pair: Pair) -> AsyncIterator[Database]:
    pair.set_stage("live")
    database = Database(pair.target, guard=WriteGuard(process="p"), statement_timeout=0.5)
    yield database
    await database.close()


async def write(database: Database, *numbers: int) -> None:
    async with UnitOfWork(database) as work:
        for number in numbers:
            await work.clients.upsert([client(number)])
        await work.commit()


async def refused(pair: Pair, database: Database) -> type[DataError]:
    with pytest.raises(DataError) as caught:
        await write(database, 1, 2)
    assert (pair.texts("clients", "target"), entries(pair)) == ([], [])
    return caught.type


async def test_an_entry_that_cannot_be_left(pair: Pair, database: Database) -> None:
    pair.ask(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN IF NEW.key[1] = ''2'' THEN RAISE insufficient_privilege; END IF; RETURN NEW; END'; "
        "CREATE TRIGGER refuse BEFORE INSERT ON botdata.outbox FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    assert await refused(pair, database) is StoreTimeoutError  # to be repeated: it may be that there is no cutover now
    assert await refused(pair, database) is AccessDeniedError
    pair.ask("DROP TRIGGER refuse ON botdata.outbox; ALTER TABLE botdata.outbox RENAME TO gone")
    with pytest.raises(SchemaMismatchError):
        await write(database, 1)
    assert pair.texts("clients", "target") == []


async def test_a_stage_that_is_being_moved(pair: Pair, database: Database) -> None:
    async with database.writer() as mover:
        await mover.execute("UPDATE botdata.stage SET stage = 'rampdown'")
        assert await refused(pair, database) is StoreTimeoutError
    await write(database, 1, 2)
    assert [key for key, *_ in entries(pair)] == [["1", "1"], ["2", "1"]]


async def test_a_stage_whose_row_is_gone(pair: Pair, database: Database) -> None:
    pair.ask("DELETE FROM botdata.stage")
    assert await refused(pair, database) is SchemaMismatchError


async def ended_between(pair: Pair, database: Database, *, in_commit: bool) -> None:
    async with UnitOfWork(database) as work:
        await work.clients.upsert([client(1)])
        pair.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND state = 'idle in transaction'"
        )
        if not in_commit:
            await work.clients.upsert([client(2)])
        await work.commit()


@pytest.mark.parametrize("in_commit", [False, True])
async def test_a_session_that_ends(pair: Pair, database: Database, in_commit: bool) -> None:
    with pytest.raises(OutcomeUnknownError if in_commit else DataError):
        await ended_between(pair, database, in_commit=in_commit)
    assert (pair.texts("clients", "target"), entries(pair)) == ([], [])
