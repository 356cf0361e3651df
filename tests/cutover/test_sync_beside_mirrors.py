"""A sync or a fix, which reads Supabase while mirrors go on, puts no older row over a mirror's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.cutover.stages import Stage
from app.migration.load import mirrored_meanwhile
from app.migration.load.mirrored_meanwhile import Moment, Outdated, outdated, this_moment
from app.migration.load.table_authority import Authority, Permit
from app.migration.sync import forward as forward_sync
from app.migration.target.target_session import open_target
from app.migration.verify.options import VerifyOptions
from app.migration.verify.verifier import verify
from app.models import Client
from tests.cutover.forward import CLIENT, Forward, clients, forward, until
from tests.cutover.syncing import source_of_pair, sync_clients
from tests.fixtures.cutover import MakeSettings, Pair
from tests.migration.engine import Told, add_clients, described, tables

pytestmark = pytest.mark.usefixtures("looks_often")


@pytest.fixture
def before_the_lock(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], Awaitable[None]]]:
    """What is done before the sync takes the table's lock, one after the other, each time one."""
    waiting: list[Callable[[], Awaitable[None]]] = []
    held = Permit.held

    @asynccontextmanager
    async def late(self: Permit, *given: Any) -> AsyncIterator[Any]:
        if waiting:
            await waiting.pop(0)()
        async with held(self, *given) as confirm:
            yield confirm

    monkeypatch.setattr(Permit, "held", late)
    return waiting


@pytest.fixture(params=[False, True])
def is_blind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the command does not ask what mirrors wrote meanwhile, which shows that the test would notice."""

    async def nothing(*_: object) -> Outdated:
        return Outdated()

    if request.param:
        for module in (forward_sync, mirrored_meanwhile):
            monkeypatch.setattr(module, "outdated", nothing)
    return bool(request.param)


async def _mirrored(process: Forward, pair: Pair, number: int, statement: str) -> None:
    """A statement on a client at Supabase, and the mirror of its key."""
    note = await process.writer._notes.take(Client, [(str(number), "1")])
    pair.ask(statement, store="source")
    process.writer._is_written(note)
    await until(lambda: process.writer.pending == 0)


async def _write(process: Forward, number: int, name: str) -> None:
    await process.write(CLIENT | {"yclients_id": number, "name": name})
    await until(lambda: process.writer.pending == 0)


async def test_what_mirrors_did_after_a_page_was_read_stays(
    at_dualwrite: Pair,
    patient: MakeSettings,
    before_the_lock: list[Callable[[], Awaitable[None]]],
    is_blind: bool,
) -> None:
    """One row is written and one deleted between the reading and the lock; a sync that did not ask would undo both."""
    add_clients(at_dualwrite.source, 9)
    async with forward(patient(), start=True) as process:

        async def both() -> None:
            await _write(process, 7, "newer")
            await _mirrored(process, at_dualwrite, 8, "DELETE FROM clients WHERE id = 8")

        before_the_lock.append(both)
        await sync_clients(at_dualwrite)
    source, target = clients(at_dualwrite)
    assert (source == target) is not is_blind


async def test_what_mirrors_did_after_a_fix_read_stays(
    at_dualwrite: Pair,
    patient: MakeSettings,
    before_the_lock: list[Callable[[], Awaitable[None]]],
    is_blind: bool,
) -> None:
    add_clients(at_dualwrite.source, 9)
    await sync_clients(at_dualwrite)
    at_dualwrite.ask("UPDATE clients SET name = 'before' WHERE yclients_id IN (7, 8)", store="source")
    async with forward(patient(), start=True) as process:

        async def both() -> None:
            await _write(process, 7, "newer")
            await _mirrored(process, at_dualwrite, 8, "DELETE FROM clients WHERE yclients_id = 8")

        before_the_lock.append(both)
        async with source_of_pair(at_dualwrite) as source:
            options = VerifyOptions(fix=True, pause=0.01)
            await verify(source, at_dualwrite.target, tables("clients"), Told(), options)
    held, mirrored = clients(at_dualwrite)
    assert (held == mirrored) is not is_blind


async def test_a_row_that_a_mirror_writes_again_and_again(
    at_dualwrite: Pair, patient: MakeSettings, before_the_lock: list[Callable[[], Awaitable[None]]]
) -> None:
    """Such a row is left to the next round, which the report says; the others come."""
    add_clients(at_dualwrite.source, 9)
    async with forward(patient(), start=True) as process:
        for turn in range(20):
            before_the_lock.append(lambda turn=turn: _write(process, 7, f"newer {turn}"))  # type: ignore[misc]
        done = await sync_clients(at_dualwrite)
    source, target = clients(at_dualwrite)
    assert source == target
    assert done.unsettled == 1


async def test_a_deletion_that_a_mirror_made_useless(
    at_dualwrite: Pair, patient: MakeSettings, before_the_lock: list[Callable[[], Awaitable[None]]]
) -> None:
    """A row of the target is not in Supabase when the sync looks, and is written there before it deletes."""
    add_clients(at_dualwrite.source, 9)
    await sync_clients(at_dualwrite)
    at_dualwrite.ask("DELETE FROM clients WHERE yclients_id IN (7, 8)", store="source")
    async with forward(patient(), start=True) as process:
        back = "INSERT INTO clients (id, yclients_id, company_id, phone) VALUES (7, 7, 1, 'back')"
        before_the_lock.append(lambda: _mirrored(process, at_dualwrite, 7, back))
        done = await sync_clients(at_dualwrite)
    source, target = clients(at_dualwrite)
    assert source == target
    assert len(target) == 8
    assert (done.deleted, done.spared) == (1, 1)


async def test_mirrors_that_began_after_the_reading(at_dualwrite: Pair) -> None:
    """Where none was expected then, no row of the page is taken for new."""
    add_clients(at_dualwrite.target, 1)
    (table,) = [await described(at_dualwrite.target, one) for one in tables("clients")]
    page = b'[{"_0": "1"}, {"_0": "2"}]'
    now = Authority(managed=True, stage=Stage.DUALWRITE)
    async with open_target(at_dualwrite.target, step="test") as connection:
        old = await outdated(connection, table, page, Moment(Authority(), None, (), (0, 0)), now)
        assert (old.written, old.absent) == ({("1",)}, {("2",)})
        moment = await this_moment(connection, table)
        old = await outdated(connection, table, page, moment, now)
        assert (old.written, old.absent) == (set(), set())
