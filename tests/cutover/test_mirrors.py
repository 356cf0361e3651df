"""A note goes when its mirror has brought the row; one whose mirror failed stays, and is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from app.cutover.replication.to_postgres.journal_table import JournalTable
from app.errors import UnavailableError, UnrepresentableValueError
from app.models import Client
from tests.cutover.forward import CLIENT, LEFT_AT, NOTES, ONE_NOTE, clients, forward, until
from tests.fixtures.cutover import MakeSettings, Pair
from tests.migration.engine import add_clients

REFUSE = "ALTER TABLE clients ADD CONSTRAINT planted CHECK (name <> 'Анна')"


async def test_a_written_row_that_the_answer_cannot_hold_is_mirrored(at_dualwrite: Pair, patient: MakeSettings) -> None:
    at_dualwrite.ask(
        "INSERT INTO clients (yclients_id, company_id, phone, created_at) VALUES (7, 1, 'x', 'infinity')",
        store="source",
    )
    async with forward(patient()) as process:
        with pytest.raises(UnrepresentableValueError) as caught:
            await process.write(CLIENT)
        assert caught.value.column == "created_at"
        await until(lambda: process.writer.pending == 0)
    source, target = clients(at_dualwrite)
    assert source == target != []


@pytest.mark.parametrize("seconds", [0.0, 3600.0])
async def test_a_mirror_that_fails_leaves_its_note_and_is_tried_again(
    at_dualwrite: Pair,
    patient: MakeSettings,
    moment: Callable[[float], None],
    caplog: pytest.LogCaptureFixture,
    seconds: float,
) -> None:
    moment(seconds)
    at_dualwrite.ask(REFUSE)
    async with forward(patient(), start=True) as process:
        (row,) = await process.write(CLIENT)
        assert row.name == "Анна"
        error = "a constraint refuses the row (planted) [SQLSTATE 23514]"
        await until(lambda: at_dualwrite.ask(NOTES)[0][3:] == ("written", 1, error))
        assert (at_dualwrite.ask(LEFT_AT) == [(None,)]) == (
            seconds > 0
        )  # the note itself is an objection until it goes
        assert process.writer.pending == 1
        at_dualwrite.ask("ALTER TABLE clients DROP CONSTRAINT planted")
        await until(lambda: process.writer.pending == 0)
        assert at_dualwrite.ask(NOTES) == []
    source, target = clients(at_dualwrite)
    assert source == target != []
    assert "a mirror of clients failed" in caplog.text
    assert "79990000001" not in caplog.text


async def test_a_mirror_that_has_just_failed_counts_once(at_dualwrite: Pair, patient: MakeSettings) -> None:
    at_dualwrite.ask(REFUSE)
    seen = set()
    async with forward(patient(close_timeout=0.1)) as process:
        await process.write(CLIENT)
        steps = 0
        while steps < 5000:  # of the loop, after the failure stands in the note
            await asyncio.sleep(0)
            seen.add(process.writer.pending)
            steps += bool(steps or at_dualwrite.ask(NOTES)[0][4])
    assert seen == {1}


async def test_of_a_batch_only_the_row_that_is_refused_waits(at_dualwrite: Pair, patient: MakeSettings) -> None:
    at_dualwrite.ask(REFUSE)
    rows = [CLIENT | {"yclients_id": number, "name": "Анна" if number == 5 else "Борис"} for number in range(1, 9)]
    async with forward(patient(close_timeout=0.1), start=True) as process:
        await process.write(*rows)
        await until(lambda: len(at_dualwrite.ask(NOTES)) == 1 and at_dualwrite.ask(NOTES)[0][4] >= 1)
        assert at_dualwrite.ask(NOTES)[0][2:4] == (["5", "1"], "written")
        assert len(at_dualwrite.texts("clients", "target")) == 7


async def test_a_batch_that_is_mirrored_in_parts_is_waited_for(at_dualwrite: Pair, patient: MakeSettings) -> None:
    at_dualwrite.ask(
        "CREATE FUNCTION at_most_two() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF (SELECT count(*) FROM new_rows) > 2 THEN RAISE check_violation; END IF; RETURN NULL; END $$"
    )
    at_dualwrite.ask(
        "CREATE TRIGGER planted AFTER INSERT ON clients REFERENCING NEW TABLE AS new_rows "
        "FOR EACH STATEMENT EXECUTE FUNCTION at_most_two()"
    )
    rows = [CLIENT | {"yclients_id": number} for number in range(1, 7)]
    async with forward(patient(mirror_wait=3600.0), start=True) as process, asyncio.timeout(60):
        await process.write(*rows)
        assert len(at_dualwrite.texts("clients", "target")) == 6


async def test_a_note_that_a_sync_has_repaired_is_not_made_again(at_dualwrite: Pair, patient: MakeSettings) -> None:
    at_dualwrite.ask(REFUSE)
    async with forward(patient(), start=True) as process:
        await process.write(CLIENT)
        await until(lambda: at_dualwrite.ask(NOTES)[0][4] == 1)
        at_dualwrite.ask(
            "DELETE FROM botdata.notes"
        )  # as a sync does, which had looked at the row after it was written
        await until(lambda: process.writer.pending == 0)
        assert at_dualwrite.ask(NOTES) == []


async def test_at_the_end_mirrors_are_waited_for_and_what_is_left_is_noted(
    at_dualwrite: Pair, patient: MakeSettings
) -> None:
    async with forward(patient(mirror_wait=0.0), start=True) as process:
        await process.write(CLIENT)
        await process.writer.close()  # and once more at the end of the block
    source, target = clients(at_dualwrite)
    assert source == target != []
    with_lock = patient(mirror_wait=0.0, close_timeout=0.3)
    async with forward(with_lock) as blocker, blocker.database.writer() as other:
        await other.execute("LOCK TABLE clients")
        async with forward(with_lock) as process:
            await process.write(CLIENT | {"name": "Борис"})
        assert [note[:4] for note in at_dualwrite.ask(NOTES)] == [(*ONE_NOTE, "written")]
        assert process.writer.pending == 1


async def test_writes_of_one_key_at_once_end_up_equal(at_dualwrite: Pair, patient: MakeSettings) -> None:
    async def many(number: int) -> None:
        async with forward(patient(note_timeout=30.0), process=f"here:{number}:x", start=True) as process:
            names = [f"{number}.{turn}" for turn in range(6)]
            await asyncio.gather(*[process.write(CLIENT | {"name": name}) for name in names])
            await until(lambda: process.writer.pending == 0)

    await asyncio.gather(*[many(number) for number in range(3)])
    source, target = clients(at_dualwrite)
    assert source == target != []
    assert at_dualwrite.ask(NOTES) == []


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
