"""A write is noted before it is made, and its note goes when PostgreSQL has the row: whatever happens in between."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app import models
from app.cutover.stages import Stage
from app.errors import (
    AuthorityMovedError,
    OutcomeUnknownError,
    RejectedError,
    UnavailableError,
    UnrepresentableValueError,
)
from tests.cutover.conftest import MakeSettings, Pair
from tests.cutover.forward import PROCESS, forward, nothing, until
from tests.data_layer.relay import relay_to

CLIENT = {"yclients_id": 7, "company_id": 1, "phone": "79990000001", "name": "Анна"}
NOTES = "SELECT process, table_name, key, state, attempts, last_error FROM botdata.notes ORDER BY id"
LEFT_AT = "SELECT left_at FROM botdata.last_left_note"
ONE_NOTE = (PROCESS, "clients", ["7", "1"])
BUSY = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
REFUSE = "ALTER TABLE clients ADD CONSTRAINT planted CHECK (name <> 'Анна')"


def clients(pair: Pair) -> tuple[list[str], list[str]]:
    """Those of Supabase, and those of PostgreSQL."""
    return pair.texts("clients", "source"), pair.texts("clients", "target")


def spool_files(directory: Path) -> list[Path]:
    return list((directory / "spool").iterdir())


@pytest.fixture
def settings_of(settings_of: MakeSettings) -> MakeSettings:
    """As everywhere, but with time for a note however busy the machine is."""
    return lambda **given: settings_of(**{"note_timeout": 20.0, **given})


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets how long a mirror may take, whatever is tried again, without proofs being worth nothing."""
    return lambda seconds: monkeypatch.setattr("app.data_layer.notes._MOMENT", seconds)


@pytest.fixture
def at_dualwrite(pair: Pair) -> Pair:
    pair.set_stage("dualwrite")
    return pair


async def test_the_note_is_there_before_the_write(at_dualwrite: Pair, settings_of: MakeSettings) -> None:
    seen = []

    async def look() -> None:
        seen.append((at_dualwrite.ask(NOTES), at_dualwrite.texts("clients", "source")))

    async with forward(settings_of()) as process:
        process.backend.before = look
        await process.write(CLIENT)
    assert seen == [([(*ONE_NOTE, "writing", 0, None)], [])]


async def test_a_refused_write_is_the_caller_s_error_and_leaves_nothing(
    at_dualwrite: Pair, settings_of: MakeSettings
) -> None:
    async with forward(settings_of()) as process:
        with pytest.raises(RejectedError) as caught:
            await process.write(CLIENT | {"phone": "7" * 51})
        assert caught.value.sqlstate == "22001"
        await until(lambda: process.writer.pending == 0)
        assert at_dualwrite.ask(NOTES) == []
    assert clients(at_dualwrite) == ([], [])
    assert at_dualwrite.ask(LEFT_AT) == [(None,)]


async def test_of_a_write_of_unknown_outcome_the_note_stays_until_it_has_settled(
    at_dualwrite: Pair, settings_of: MakeSettings
) -> None:
    async def lose_the_answer() -> None:
        raise OutcomeUnknownError("planted")

    async with forward(settings_of(outcome_settles_after=3600.0, mirror_wait=20.0)) as process:
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
    at_dualwrite: Pair, settings_of: MakeSettings
) -> None:
    async def lose_the_answer() -> None:
        raise OutcomeUnknownError("planted")

    async with forward(settings_of(outcome_settles_after=0.5), start=True) as process:
        process.backend.behind = lose_the_answer
        with pytest.raises(OutcomeUnknownError):
            await process.write(CLIENT)
        await until(lambda: at_dualwrite.ask(NOTES) == [(*ONE_NOTE, "unknown", 0, None)])
        (before,) = at_dualwrite.ask(LEFT_AT)
        await until(lambda: at_dualwrite.ask(NOTES) == [])
    source, target = clients(at_dualwrite)
    assert source == target != []
    assert at_dualwrite.ask(LEFT_AT)[0] > before  # what was proven while it was unknown is worth nothing


async def test_a_cancelled_write_leaves_its_note_unknown(at_dualwrite: Pair, settings_of: MakeSettings) -> None:
    is_writing = asyncio.Event()

    async def hang() -> None:
        is_writing.set()
        await asyncio.sleep(3600)

    async with forward(settings_of(outcome_settles_after=3600.0)) as process:
        process.backend.behind = hang
        call = asyncio.create_task(process.write(CLIENT))
        await is_writing.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: at_dualwrite.ask(NOTES) == [(*ONE_NOTE, "unknown", 0, None)])


async def test_a_call_that_is_cancelled_before_its_write_leaves_no_note(
    at_dualwrite: Pair, settings_of: MakeSettings
) -> None:
    async with forward(settings_of(note_timeout=60.0)) as process, process.database.engine.begin() as blocker:
        await blocker.exec_driver_sql("SELECT FROM botdata.stage FOR UPDATE")
        call = asyncio.create_task(process.write(CLIENT))
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        await until(lambda: len(at_dualwrite.ask(waiting)) == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await blocker.rollback()
        await until(lambda: at_dualwrite.ask("SELECT is_called FROM botdata.notes_id_seq") == [(True,)])
        await until(lambda: at_dualwrite.ask(BUSY) == [])
        await until(lambda: at_dualwrite.ask(NOTES) == [])
    assert clients(at_dualwrite) == ([], [])


async def test_a_written_row_that_the_answer_cannot_hold_is_mirrored(
    at_dualwrite: Pair, settings_of: MakeSettings
) -> None:
    at_dualwrite.ask(
        "INSERT INTO clients (yclients_id, company_id, phone, created_at) VALUES (7, 1, 'x', 'infinity')",
        store="source",
    )
    async with forward(settings_of()) as process:
        with pytest.raises(UnrepresentableValueError) as caught:
            await process.write(CLIENT)
        assert caught.value.column == "created_at"
        await until(lambda: process.writer.pending == 0)
    source, target = clients(at_dualwrite)
    assert source == target != []


@pytest.mark.parametrize("stage", ["live", "rampdown", "complete"])
async def test_a_process_that_missed_the_move_writes_nothing(pair: Pair, settings_of: MakeSettings, stage: str) -> None:
    pair.set_stage(stage)
    async with forward(settings_of()) as process:
        process.stage = Stage.SHADOW
        with pytest.raises(AuthorityMovedError, match=stage):
            await process.write(CLIENT)
        assert process.writer.problem is None
    assert clients(pair) == ([], [])
    assert pair.ask(NOTES) == []


async def test_a_move_waits_for_a_note_and_then_sees_it(at_dualwrite: Pair, settings_of: MakeSettings) -> None:
    """The stage is shared until the note is there: whoever then has it alone finds the note."""
    at_dualwrite.ask(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN new; END'"
    )
    at_dualwrite.ask("CREATE TRIGGER wait BEFORE INSERT ON botdata.notes FOR EACH ROW EXECUTE FUNCTION wait()")
    async with forward(settings_of(note_timeout=60.0)) as process, process.database.engine.begin() as other:
        await other.exec_driver_sql("SELECT pg_advisory_xact_lock(1)")
        call = asyncio.create_task(process.write(CLIENT))
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        await until(lambda: len(at_dualwrite.ask(waiting)) == 1)
        assert at_dualwrite.ask("SELECT FROM botdata.stage FOR UPDATE SKIP LOCKED") == []
        await other.rollback()
        await call


async def test_a_note_that_waits_for_a_move_sees_where_it_led(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("shadow")
    async with forward(settings_of(note_timeout=60.0)) as process, process.database.engine.begin() as mover:
        await mover.exec_driver_sql("UPDATE botdata.stage SET stage = 'live'")
        call = asyncio.create_task(process.write(CLIENT))
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        await until(lambda: len(pair.ask(waiting)) == 1)
        await mover.commit()
        with pytest.raises(AuthorityMovedError, match="live"):
            await call
    assert clients(pair) == ([], [])
    assert pair.ask(NOTES) == []


@pytest.mark.parametrize("seconds", [0.0, 3600.0])
async def test_a_mirror_that_fails_leaves_its_note_and_is_tried_again(
    at_dualwrite: Pair,
    settings_of: MakeSettings,
    moment: Callable[[float], None],
    caplog: pytest.LogCaptureFixture,
    seconds: float,
) -> None:
    moment(seconds)
    at_dualwrite.ask(REFUSE)
    async with forward(settings_of(), start=True) as process:
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


async def test_of_a_batch_only_the_row_that_is_refused_waits(at_dualwrite: Pair, settings_of: MakeSettings) -> None:
    at_dualwrite.ask(REFUSE)
    rows = [CLIENT | {"yclients_id": number, "name": "Анна" if number == 5 else "Борис"} for number in range(1, 9)]
    async with forward(settings_of(), start=True) as process:
        await process.write(*rows)
        await until(lambda: len(at_dualwrite.ask(NOTES)) == 1 and at_dualwrite.ask(NOTES)[0][4] >= 1)
        assert at_dualwrite.ask(NOTES)[0][2:4] == (["5", "1"], "written")
        assert len(at_dualwrite.texts("clients", "target")) == 7


async def test_a_note_that_a_sync_has_repaired_is_not_made_again(at_dualwrite: Pair, settings_of: MakeSettings) -> None:
    at_dualwrite.ask(REFUSE)
    async with forward(settings_of(), start=True) as process:
        await process.write(CLIENT)
        await until(lambda: at_dualwrite.ask(NOTES)[0][4] == 1)
        at_dualwrite.ask(
            "DELETE FROM botdata.notes"
        )  # as a sync does, which had looked at the row after it was written
        await until(lambda: process.writer.pending == 0)
        assert at_dualwrite.ask(NOTES) == []


@pytest.mark.parametrize("ends", ["before the write", "behind the write"])
@pytest.mark.parametrize("outcome", ["written", "unknown"])
async def test_a_sync_that_took_the_process_for_dead_takes_away_no_more_than_it_saw(
    at_dualwrite: Pair, settings_of: MakeSettings, outcome: str, ends: str
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

    async with forward(settings_of(outcome_settles_after=3600.0)) as process:
        process.backend.before, process.backend.behind = look, lose_the_answer
        with suppress(OutcomeUnknownError):
            await process.write(CLIENT)
        await until(lambda: left() == [(*ONE_NOTE, outcome)])
        end_the_sync()
        assert seen != []
        assert left() == [(*ONE_NOTE, outcome)]


async def test_the_answer_waits_neither_for_a_mirror_nor_for_a_store_that_is_down(
    at_dualwrite: Pair, settings_of: MakeSettings, moment: Callable[[float], None], tmp_path: Path
) -> None:
    """PostgreSQL hangs, later hangs up, then is back: each write is answered, and both stores end up equal."""
    moment(0.0)
    async with relay_to(at_dualwrite.target) as relay:
        settings = settings_of(database_url=relay.database_url, note_timeout=0.4, mirror_timeout=2.0)
        async with forward(settings, start=True) as process:
            await process.write(CLIENT)
            relay.silent = True
            for number in range(8, 38):
                (row,) = await process.write(CLIENT | {"yclients_id": number})
                assert row.yclients_id == number
            assert process.writer.spooled == 30
            assert process.writer.problem is not None
            assert [len(path.read_bytes().splitlines()) for path in spool_files(tmp_path)] == [30]
            relay.silent = False
            await until(lambda: process.writer.pending == process.writer.spooled == 0)
            assert process.writer.problem is None
            assert at_dualwrite.ask(NOTES) == []
            await until(lambda: [path.read_bytes() for path in spool_files(tmp_path)] == [b""])
    source, target = clients(at_dualwrite)
    assert source == target
    assert len(source) == 31
    assert at_dualwrite.ask(LEFT_AT) != [(None,)]
    assert spool_files(tmp_path) == []


async def test_a_note_that_comes_late_is_there_all_the_same(at_dualwrite: Pair, settings_of: MakeSettings) -> None:
    async with forward(settings_of(note_timeout=60.0)) as other, forward(settings_of(note_timeout=0.6)) as process:
        async with other.database.engine.begin() as blocker:
            await blocker.exec_driver_sql("LOCK TABLE botdata.notes")
            await process.write(CLIENT)
            assert process.writer.spooled == 1
        await until(lambda: process.writer.spooled == 0)
        assert [note[:4] for note in at_dualwrite.ask(NOTES)] == [(*ONE_NOTE, "writing")]
        assert process.writer.pending == 1


async def test_a_note_that_postgresql_was_slow_to_take_spoils_no_proofs(
    at_dualwrite: Pair, settings_of: MakeSettings, moment: Callable[[float], None]
) -> None:
    """What is mirrored a moment later by the process that wrote it asks for no other sync and verify."""
    moment(3600.0)
    settings = settings_of(note_timeout=0.6)
    async with forward(settings_of(note_timeout=60.0)) as other, forward(settings, start=True) as process:
        async with other.database.engine.begin() as blocker:
            await blocker.exec_driver_sql("LOCK TABLE botdata.notes")
            await process.write(CLIENT)
            assert process.writer.spooled == 1
            await asyncio.sleep(1)  # it tries to bring the note in meanwhile
        await until(lambda: process.writer.pending == process.writer.spooled == 0)
        await until(lambda: at_dualwrite.ask(NOTES) == [])
    source, target = clients(at_dualwrite)
    assert source == target != []
    assert at_dualwrite.ask(LEFT_AT) == [(None,)]


@pytest.mark.parametrize(("settles_after", "warned"), [(29.0, True), (30.0, False)])
async def test_a_process_says_that_a_sync_could_come_before_its_slowest_write(
    at_dualwrite: Pair,
    settings_of: MakeSettings,
    caplog: pytest.LogCaptureFixture,
    settles_after: float,
    warned: bool,
) -> None:
    async with forward(settings_of(outcome_settles_after=settles_after, query_timeout=30.0), start=True):
        pass
    assert ("OUTCOME_SETTLES_AFTER (29 s) is shorter than QUERY_TIMEOUT (30 s)" in caplog.text) is warned


async def test_while_postgresql_is_known_to_be_down_a_write_does_not_ask_it(
    at_dualwrite: Pair, settings_of: MakeSettings
) -> None:
    async with relay_to(None) as nobody:  # accepts connections, and never says a word
        settings = settings_of(database_url=nobody.database_url, note_timeout=2.0, mirror_wait=3600.0)
        async with asyncio.timeout(60), forward(settings) as process:
            for number in range(60):
                await process.write(CLIENT | {"yclients_id": number + 1})
            assert process.writer.spooled == 60


async def test_a_probe_that_hangs_does_not_keep_the_recovery_waiting(
    at_dualwrite: Pair, settings_of: MakeSettings
) -> None:
    async with relay_to(at_dualwrite.target) as relay:
        settings = settings_of(database_url=relay.database_url, note_timeout=0.3, mirror_timeout=5.0)
        async with forward(settings, start=True) as process:
            relay.silent = True
            await process.write(CLIENT)
            await asyncio.sleep(3)
            relay.silent = False
            await until(lambda: process.writer.pending == 0)
    source, target = clients(at_dualwrite)
    assert source == target != []


async def test_with_the_spool_unwritable_too_notes_are_kept_and_that_is_said(
    at_dualwrite: Pair, settings_of: MakeSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    async with relay_to(at_dualwrite.target) as relay:
        settings = settings_of(
            database_url=relay.database_url, note_timeout=0.4, cutover_spool=tmp_path / "file" / "spool"
        )
        async with forward(settings, start=True) as process:
            relay.silent = True
            await process.write(CLIENT)
            assert process.writer.spooled == 1
            assert "in memory alone" in (process.writer.problem or "")
            relay.silent = False
            await until(lambda: process.writer.pending == 0)
            assert process.writer.problem is None
    source, target = clients(at_dualwrite)
    assert source == target != []
    assert [record.levelname for record in caplog.records if "in this process's memory" in record.message] == ["ERROR"]
    assert "79990000001" not in caplog.text


async def test_what_a_dead_process_left_in_its_spool_is_noted_as_unknown(
    at_dualwrite: Pair, settings_of: MakeSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(database_url="postgresql://nobody@127.0.0.1:1/none")
    row = {"user_id": "79990000001"}
    async with forward(settings, process="here:2:dead") as dead:
        await dead.write(row, model=models.DialogContext)
        for _ in range(2):
            await dead.write(CLIENT)
        assert dead.writer.spooled == 3
        assert dead.metrics.total("notes", place="spool") == 3
    caplog.set_level(logging.DEBUG, "app")
    async with forward(settings_of(), start=True):
        await until(lambda: len(at_dualwrite.ask(NOTES)) == 2)
        assert at_dualwrite.ask(NOTES) == [
            ("here:2:dead", "dialog_contexts", ["79990000001"], "unknown", 0, None),
            ("here:2:dead", "clients", ["7", "1"], "unknown", 0, None),
        ]
        await until(lambda: spool_files(tmp_path) == [])
    assert at_dualwrite.ask(LEFT_AT) != [(None,)]
    assert "79990000001" not in caplog.text


async def test_an_unreachable_authority_is_the_caller_s_error_and_nothing_stays(
    at_dualwrite: Pair, settings_of: MakeSettings
) -> None:
    async with forward(settings_of(supabase_url="http://127.0.0.1:1")) as process:
        with pytest.raises(UnavailableError):
            await process.write(CLIENT)
        await until(lambda: process.writer.pending == 0)
    assert at_dualwrite.ask(NOTES) == []


async def test_at_the_end_mirrors_are_waited_for_and_what_is_left_is_noted(
    at_dualwrite: Pair, settings_of: MakeSettings
) -> None:
    async with forward(settings_of(mirror_wait=0.0), start=True) as process:
        await process.write(CLIENT)
        await process.writer.close()  # and once more at the end of the block
    source, target = clients(at_dualwrite)
    assert source == target != []
    with_lock = settings_of(mirror_wait=0.0, close_timeout=0.3)
    async with forward(with_lock) as blocker, blocker.database.engine.begin() as other:
        await other.exec_driver_sql("LOCK TABLE clients")
        async with forward(with_lock) as process:
            await process.write(CLIENT | {"name": "Борис"})
        assert [note[:4] for note in at_dualwrite.ask(NOTES)] == [(*ONE_NOTE, "written")]
        assert process.writer.pending == 1


async def test_writes_of_one_key_at_once_end_up_equal(at_dualwrite: Pair, settings_of: MakeSettings) -> None:
    async def many(number: int) -> None:
        async with forward(settings_of(note_timeout=30.0), process=f"here:{number}:x", start=True) as process:
            names = [f"{number}.{turn}" for turn in range(6)]
            await asyncio.gather(*[process.write(CLIENT | {"name": name}) for name in names])
            await until(lambda: process.writer.pending == 0)

    await asyncio.gather(*[many(number) for number in range(3)])
    source, target = clients(at_dualwrite)
    assert source == target != []
    assert at_dualwrite.ask(NOTES) == []
