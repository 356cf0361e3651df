"""A write is noted before it is made, and its note says what came of it, whatever happens in between."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Literal

import pytest

from app.cutover.replication.to_postgres.journal_table import JournalTable
from app.cutover.stages import Stage
from app.errors import (
    AuthorityMovedError,
    OutcomeUnknownError,
    RejectedError,
    UnavailableError,
)
from tests.cutover.forward import CLIENT, LEFT_AT, NOTES, ONE_NOTE, Forward, clients, forward, nothing, until
from tests.cutover.test_mirrors import REFUSE
from tests.fixtures.cutover import MakeSettings, Pair

BUSY = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"


async def test_the_note_is_there_before_the_write(at_dualwrite: Pair, patient: MakeSettings) -> None:
    seen = []

    async def look() -> None:
        seen.append((at_dualwrite.ask(NOTES), at_dualwrite.texts("clients", "source")))

    async with forward(patient()) as process:
        process.backend.before = look
        await process.write(CLIENT)
    assert seen == [([(*ONE_NOTE, "writing", 0, None)], [])]


async def test_a_refused_write_is_the_caller_s_error_and_leaves_nothing(
    at_dualwrite: Pair, patient: MakeSettings
) -> None:
    async with forward(patient()) as process:
        with pytest.raises(RejectedError) as caught:
            await process.write(CLIENT | {"phone": "7" * 51})
        assert caught.value.sqlstate == "22001"
        await until(lambda: process.writer.pending == 0)
        assert at_dualwrite.ask(NOTES) == []
    assert clients(at_dualwrite) == ([], [])
    assert at_dualwrite.ask(LEFT_AT) == [(None,)]


async def test_of_a_write_of_unknown_outcome_the_note_stays_until_it_has_settled(
    at_dualwrite: Pair, patient: MakeSettings
) -> None:
    async def lose_the_answer() -> None:
        raise OutcomeUnknownError("planted")

    async with forward(patient(outcome_settles_after=3600.0, mirror_wait=20.0)) as process:
        process.backend.behind = lose_the_answer
        with pytest.raises(OutcomeUnknownError, match="planted"):
            await process.write(CLIENT)
        await until(lambda: at_dualwrite.ask(NOTES) == [(*ONE_NOTE, "unknown", 0, None)])
        assert at_dualwrite.ask(LEFT_AT) != [(None,)]
        process.backend.behind = nothing
        await process.write(CLIENT)
        assert [note[3] for note in at_dualwrite.ask(NOTES)] == ["unknown"]  # a mirror of the key does not tell
    assert at_dualwrite.ask(NOTES) == [(*ONE_NOTE, "unknown", 0, None)]


async def test_a_living_process_repairs_a_write_of_unknown_outcome_when_it_has_settled(
    at_dualwrite: Pair, patient: MakeSettings
) -> None:
    async def lose_the_answer() -> None:
        raise OutcomeUnknownError("planted")

    async with forward(patient(outcome_settles_after=0.5), start=True) as process:
        process.backend.behind = lose_the_answer
        with pytest.raises(OutcomeUnknownError):
            await process.write(CLIENT)
        await until(lambda: at_dualwrite.ask(NOTES) == [(*ONE_NOTE, "unknown", 0, None)])
        (before,) = at_dualwrite.ask(LEFT_AT)
        await until(lambda: at_dualwrite.ask(NOTES) == [])
    source, target = clients(at_dualwrite)
    assert source == target != []
    assert at_dualwrite.ask(LEFT_AT)[0] > before  # what was proven while it was unknown is worth nothing


async def _cancel_amid(process: Forward, when: Literal["before", "behind"]) -> None:
    """A write that is cancelled before it left, or when its answer is on the way."""
    is_writing = asyncio.Event()

    async def hang() -> None:
        is_writing.set()
        await asyncio.sleep(3600)

    setattr(process.backend, when, hang)
    call = asyncio.create_task(process.write(CLIENT))
    await is_writing.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_cancelled_write_leaves_its_note_unknown(at_dualwrite: Pair, patient: MakeSettings) -> None:
    async with forward(patient(outcome_settles_after=3600.0)) as process:
        await _cancel_amid(process, "behind")
        await until(lambda: at_dualwrite.ask(NOTES) == [(*ONE_NOTE, "unknown", 0, None)])


async def test_a_write_that_is_cancelled_before_it_left_takes_its_note_away(
    at_dualwrite: Pair, patient: MakeSettings
) -> None:
    async with forward(patient(outcome_settles_after=3600.0)) as process:
        await _cancel_amid(process, "before")
        await until(lambda: at_dualwrite.ask(NOTES) == [])
    assert clients(at_dualwrite) == ([], [])


async def test_notes_that_always_take_too_long_are_no_endless_wait(
    at_dualwrite: Pair, patient: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = JournalTable.insert

    async def insert_late(self: JournalTable, table: str, keys: Any) -> Any:
        await asyncio.sleep(0.1)
        return await insert(self, table, keys)

    monkeypatch.setattr(JournalTable, "insert", insert_late)
    async with forward(patient(outcome_settles_after=0.1)) as process, asyncio.timeout(30):
        with pytest.raises(UnavailableError, match="OUTCOME_SETTLES_AFTER"):
            await process.write(CLIENT)
        await until(lambda: at_dualwrite.ask(NOTES) == [])
    assert clients(at_dualwrite) == ([], [])


async def test_a_call_that_is_cancelled_before_its_write_leaves_no_note(
    at_dualwrite: Pair, patient: MakeSettings
) -> None:
    async with forward(patient(note_timeout=60.0)) as process, process.database.writer() as blocker:
        await blocker.execute("SELECT FROM botdata.stage FOR UPDATE")
        call = asyncio.create_task(process.write(CLIENT))
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        await until(lambda: len(at_dualwrite.ask(waiting)) == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await blocker.driver.rollback()
        await until(lambda: at_dualwrite.ask("SELECT is_called FROM botdata.notes_id_seq") == [(True,)])
        await until(lambda: at_dualwrite.ask(BUSY) == [])
        await until(lambda: at_dualwrite.ask(NOTES) == [])
    assert clients(at_dualwrite) == ([], [])


@pytest.mark.parametrize("stage", ["live", "rampdown", "complete"])
async def test_a_process_that_missed_the_move_writes_nothing(pair: Pair, patient: MakeSettings, stage: str) -> None:
    pair.set_stage(stage)
    async with forward(patient()) as process:
        process.stage = Stage.SHADOW
        with pytest.raises(AuthorityMovedError, match=stage):
            await process.write(CLIENT)
        assert process.writer.problem is None
    assert clients(pair) == ([], [])
    assert pair.ask(NOTES) == []


async def test_a_move_waits_for_a_note_and_then_sees_it(at_dualwrite: Pair, patient: MakeSettings) -> None:
    """The stage is shared until the note is there: whoever then has it alone finds the note."""
    at_dualwrite.ask(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN new; END'"
    )
    at_dualwrite.ask("CREATE TRIGGER wait BEFORE INSERT ON botdata.notes FOR EACH ROW EXECUTE FUNCTION wait()")
    async with forward(patient(note_timeout=60.0)) as process, process.database.writer() as other:
        await other.execute("SELECT pg_advisory_xact_lock(1)")
        call = asyncio.create_task(process.write(CLIENT))
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        await until(lambda: len(at_dualwrite.ask(waiting)) == 1)
        assert at_dualwrite.ask("SELECT FROM botdata.stage FOR UPDATE SKIP LOCKED") == []
        await other.driver.rollback()
        await call


async def test_a_note_that_waits_for_a_move_sees_where_it_led(pair: Pair, patient: MakeSettings) -> None:
    pair.set_stage("shadow")
    async with forward(patient(note_timeout=60.0)) as process, process.database.writer() as mover:
        await mover.execute("UPDATE botdata.stage SET stage = 'live'")
        call = asyncio.create_task(process.write(CLIENT))
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        await until(lambda: len(pair.ask(waiting)) == 1)
        await mover.commit()
        with pytest.raises(AuthorityMovedError, match="live"):
            await call
    assert clients(pair) == ([], [])
    assert pair.ask(NOTES) == []


@pytest.mark.parametrize("ends", ["before the write", "behind the write"])
@pytest.mark.parametrize("outcome", ["written", "unknown"])
async def test_a_sync_that_took_the_process_for_dead_takes_away_no_more_than_it_saw(
    at_dualwrite: Pair, patient: MakeSettings, outcome: str, ends: str
) -> None:
    at_dualwrite.ask(REFUSE)
    seen: list[int] = []

    def end_the_sync() -> None:
        at_dualwrite.ask("DELETE FROM botdata.notes WHERE id = ANY (%s)", seen)

    async def look() -> None:
        seen.extend(number for (number,) in at_dualwrite.ask("SELECT id FROM botdata.notes"))
        if ends == "before the write":
            end_the_sync()

    async def lose_the_answer() -> None:
        if outcome == "unknown":
            raise OutcomeUnknownError("planted")

    def left() -> list[Any]:
        return [note[:4] for note in at_dualwrite.ask(NOTES)]

    async with forward(patient(outcome_settles_after=3600.0, close_timeout=0.1)) as process:
        process.backend.before, process.backend.behind = look, lose_the_answer
        with suppress(OutcomeUnknownError):
            await process.write(CLIENT)
        await until(lambda: left() == [(*ONE_NOTE, outcome)])
        end_the_sync()
        assert seen != []
        assert left() == [(*ONE_NOTE, outcome)]


async def test_an_unreachable_authority_is_the_caller_s_error_and_nothing_stays(
    at_dualwrite: Pair, patient: MakeSettings
) -> None:
    async with forward(patient(supabase_url="http://127.0.0.1:1")) as process:
        with pytest.raises(UnavailableError):
            await process.write(CLIENT)
        await until(lambda: process.writer.pending == 0)
    assert at_dualwrite.ask(NOTES) == []
