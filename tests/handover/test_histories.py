"""What real runs did is accepted by the model; what it forbids is not."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any

import pytest

from app.cutover.moves.steps import advance, back
from app.cutover.replication.to_postgres.journal_writer import JournalWriter
from app.cutover.replication.to_supabase.outbox_writer import OutboxWriter
from app.cutover.stages import Store
from app.data_layer import DataLayer, open_data_layer
from tests.cutover.following import client
from tests.fixtures.cutover import MakeSettings, Pair
from tests.handover.histories import Move, Write, accepts

_KEYS = 30
_BETWEEN = 0.05  # seconds between the writes of a process, at most
_MORE = 30  # writes before the first move, and after each
THERE, BACK = Move(10, 20), Move(30, 40)


@pytest.mark.parametrize(
    ("writes", "found"),
    [
        ([Write("a", "1", 1, 2)], "1"),
        ([Write("a", "1", 1, 2), Write("b", "2", 1, 3)], "1"),  # either came first
        ([Write("a", "1", 1, 2), Write("a", "2", 12, 25)], "2"),  # held, and made at the new authority
        ([Write("a", "1", 1, 2), Write("a", "2", 12, None)], "1"),  # never made
        ([Write("a", "1", 1, 2), Write("a", "2", 50, None)], "2"),  # made, and nobody heard of it
        ([Write("a", "1", 12, 25, Store.POSTGRES), Write("b", "2", 9, 15, Store.SUPABASE)], "1"),
        ([Write("a", "1", 21, 22, Store.POSTGRES), Write("a", "2", 41, 42, Store.SUPABASE)], "2"),
    ],
)
def test_a_history_that_can_be(writes: list[Write], found: str) -> None:
    assert accepts(writes, [THERE, BACK], found)


@pytest.mark.parametrize(
    ("writes", "found"),
    [
        ([Write("a", "1", 1, 2), Write("a", "2", 3, 4)], "1"),  # an acknowledged write is missing
        ([Write("a", "1", 1, 2), Write("a", "2", 21, 22)], "1"),  # and one that was made after the move
        ([Write("a", "1", 1, 2)], None),
        ([Write("a", "1", 21, 22, Store.POSTGRES), Write("b", "2", 21, 22, Store.SUPABASE)], "1"),  # two authorities
        ([Write("a", "1", 1, 2, Store.POSTGRES)], "1"),
        ([Write("a", "1", 12, 15, Store.POSTGRES), Write("b", "2", 16, 18, Store.SUPABASE)], "2"),
    ],
)
def test_a_history_that_cannot_be(writes: list[Write], found: str | None) -> None:
    assert not accepts(writes, [THERE, BACK], found)


class _Recorder:
    """Writes down what some processes do, key by key."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.writes: dict[int, list[Write]] = defaultdict(list)
        self.stops = False
        self._stores: dict[str, Store] = {}
        for writer, store in ((JournalWriter, Store.SUPABASE), (OutboxWriter, Store.POSTGRES)):
            patch.setattr(writer, "upsert", self._told(writer.upsert, store))

    def _told(self, upsert: Callable[..., Any], store: Store) -> Callable[..., Any]:
        async def told(writer: Any, stage: Any, model: Any, rows: Any, write: Any) -> Any:
            answer = await upsert(writer, stage, model, rows, write)
            self._stores[rows[0]["name"]] = store
            return answer

        return told

    async def work(self, data: DataLayer, process: str) -> None:
        """One write after the other, until it is to stop."""
        chance = random.Random(process)
        number = 0
        while not self.stops:
            number += 1
            key, token = 1 + chance.randrange(_KEYS), f"{process}.{number}"
            began = monotonic()
            answer = await data.upsert_client({**client(key), "name": token})
            assert answer.error is None
            self.writes[key].append(Write(process, token, began, monotonic(), self._stores[token]))
            await asyncio.sleep(chance.uniform(0, _BETWEEN))

    async def until_more(self, working: list[asyncio.Task[None]]) -> None:
        """Return once some more writes were acknowledged, however busy the machine is."""
        wanted = _MORE + sum(map(len, self.writes.values()))
        async with asyncio.timeout(100):
            while sum(map(len, self.writes.values())) < wanted:
                for task in working:
                    assert not task.done() or task.result()
                await asyncio.sleep(0.01)


@pytest.mark.usefixtures("looks_often")
async def test_a_real_run_there_and_back_is_accepted(
    pair: Pair, patient: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.set_stage("shadow")
    recorder, moves = _Recorder(monkeypatch), []
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(open_data_layer(patient())) for _ in range(3)]
        working = [asyncio.create_task(recorder.work(data, name)) for data, name in zip(processes, "abc", strict=True)]
        for move in (advance, back):
            await recorder.until_more(working)
            began = monotonic()
            while not (await move(patient(cutover_hold=10), force="a test")).moved:
                assert monotonic() - began < 120
            moves.append(Move(began, monotonic()))
        await recorder.until_more(working)
        recorder.stops = True
        await asyncio.gather(*working)
    held = dict(pair.ask("SELECT yclients_id, name FROM clients", store="source"))
    assert {write.store for writes in recorder.writes.values() for write in writes} == set(Store)
    for key, writes in recorder.writes.items():
        assert accepts(writes, moves, held[key]), (writes, moves, held[key])
    # The same is refused where the store lacks what was acknowledged, and where the other one had taken a write.
    early = {key: writes for key, writes in recorder.writes.items() if (writes[0].ended or 0) < moves[0].began}
    key, (first, *later) = min(early.items(), key=lambda one: len(one[1]))
    assert not accepts([first, *later], moves, "another")
    assert not accepts([first._replace(store=Store.POSTGRES), *later], moves, held[key])
