"""Mirrors whose PostgreSQL falls silent."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from app.cutover.replication.to_postgres.journal_table import JournalTable
from app.errors import UnavailableError
from app.models import Client
from tests.cutover.forward import clients, forward, until
from tests.fixtures.cutover import MakeSettings, Pair
from tests.migration.engine import add_clients


async def test_one_note_of_a_batch_waits_for_a_silent_postgresql(
    at_dualwrite: Pair, patient: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a mirror failed is to be kept with each note; where that takes too long once, it is left for the others."""
    add_clients(at_dualwrite.source, 3)
    left: list[Any] = []
    leave = JournalTable.leave

    async def counted(table: JournalTable, *given: Any, **named: Any) -> Any:
        left.append(given)
        return await leave(table, *given, **named)

    async with forward(patient(mirror_timeout=0.5)) as process:
        writer = process.writer
        notes = [await writer._notes.take(Client, [(str(number), "1")]) for number in (1, 2, 3)]
        monkeypatch.setattr(JournalTable, "leave", counted)
        with psycopg.connect(at_dualwrite.target) as other:
            other.execute("LOCK TABLE botdata.notes IN ACCESS EXCLUSIVE MODE")
            writer._breaker.failed()  # so that they are taken together
            for note in notes:
                writer._is_written(note)
            writer._breaker.succeeded()
            writer._mirrors.pump()
            await until(lambda: all(note.attempts == 1 for note in notes))
            assert len(left) == 1
        await until(lambda: writer._mirrors.pump() or writer.pending == 0)
    source, target = clients(at_dualwrite)
    assert source == target


async def test_a_note_of_unknown_outcome_counts_until_it_is_left(
    at_dualwrite: Pair, patient: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync may have taken it for a dead process's: only once it is noted anew can the process be done with it."""
    add_clients(at_dualwrite.source, 1)

    async def away(*_: Any, **__: Any) -> Any:
        raise UnavailableError("away")

    async with forward(patient()) as process:
        writer = process.writer
        note = await writer._notes.take(Client, [("1", "1")])
        with monkeypatch.context() as patch:
            patch.setattr(JournalTable, "leave", away)
            await writer._leave(note)
        assert writer.pending == 1
        await writer._leave(note)
        assert writer.pending == 0
