"""While PostgreSQL is slow, hangs or is down, writes are noted in a file, and the notes are brought in afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from app import models
from app.cutover.replication.to_postgres.journal_table import JournalTable
from app.cutover.replication.to_postgres.journal_writer import JournalWriter
from tests.cutover.forward import CLIENT, LEFT_AT, NOTES, ONE_NOTE, clients, forward, until
from tests.data_layer.relay import relay_to
from tests.fixtures.cutover import MakeSettings, Pair
from tests.support.rounds import Rounds

pytestmark = pytest.mark.usefixtures("looks_often")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    """The looks of writers for PostgreSQL, and for notes to bring in."""
    return Rounds(monkeypatch, JournalWriter, "_look_at_postgres")


def spool_files(directory: Path) -> list[Path]:
    return list((directory / "spool").iterdir())


async def test_the_answer_waits_neither_for_a_mirror_nor_for_a_store_that_is_down(
    at_dualwrite: Pair, patient: MakeSettings, moment: Callable[[float], None], tmp_path: Path
) -> None:
    """PostgreSQL hangs, later hangs up, then is back: each write is answered, and both stores end up equal."""
    moment(0.0)
    async with relay_to(at_dualwrite.target) as relay:
        settings = patient(database_url=relay.database_url, note_timeout=0.4, mirror_timeout=2.0)
        async with forward(settings, start=True) as process:
            await process.write(CLIENT)
            await until(lambda: process.writer.pending == process.writer.spooled == 0)
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


async def test_an_outage_is_kept_in_memory_to_a_limit_and_the_rest_is_for_a_sync(
    at_dualwrite: Pair, patient: MakeSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("app.cutover.replication.to_postgres.journal._MOST_IN_MEMORY", 5)
    async with relay_to(at_dualwrite.target) as relay:
        settings = patient(database_url=relay.database_url, note_timeout=0.4, mirror_timeout=2.0)
        async with forward(settings, start=True) as process:
            for outage in range(2):
                relay.silent = True
                for number in range(10):
                    await process.write(CLIENT | {"yclients_id": 100 * outage + number})
                await until(lambda: len(process.writer._notes._elsewhere) == process.writer.pending == 5)
                assert process.writer.spooled == 10
                assert sum(len(path.read_bytes().splitlines()) for path in spool_files(tmp_path)) >= 10
                relay.silent = False
                await until(lambda: process.writer.pending == process.writer.spooled == 0)
                left = [int(note[2][0]) for note in at_dualwrite.ask(NOTES) if note[3] == "unknown"]
                assert [number // 100 for number in left] == [0] * 5 + [1] * 5 * outage
    source, target = clients(at_dualwrite)
    assert len(source) == 20
    assert len(set(target) & set(source)) == 10
    assert at_dualwrite.ask(LEFT_AT) != [(None,)]
    assert spool_files(tmp_path) == []


async def test_a_note_that_comes_late_is_there_all_the_same(at_dualwrite: Pair, patient: MakeSettings) -> None:
    async with forward(patient(note_timeout=60.0)) as other, forward(patient(note_timeout=0.6)) as process:
        async with other.database.writer() as blocker:
            await blocker.execute("LOCK TABLE botdata.notes")
            await process.write(CLIENT)
            assert process.writer.spooled == 1
        await until(lambda: process.writer.spooled == 0)
        assert [note[:4] for note in at_dualwrite.ask(NOTES)] == [(*ONE_NOTE, "writing")]
        assert process.writer.pending == 1


async def test_a_note_that_comes_while_the_spool_is_slow_is_no_fault(
    at_dualwrite: Pair, patient: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cutover.replication.to_postgres.journal._SHARE_OF_POSTGRES", 0.02)
    async with forward(patient(note_timeout=60.0)) as other, forward(patient()) as process:
        notes = process.writer._notes
        disk = Event()
        notes._spool._thread.submit(disk.wait, 30)  # what is to be written waits behind it
        async with other.database.writer() as blocker:
            await blocker.execute("LOCK TABLE botdata.notes")
            writing = asyncio.create_task(process.write(CLIENT))
            await until(lambda: notes.elsewhere == 1)
        await until(lambda: notes.elsewhere == 0)
        disk.set()
        await writing
        assert notes.problem is None


async def test_a_note_that_postgresql_was_slow_to_take_spoils_no_proofs(
    at_dualwrite: Pair, patient: MakeSettings, moment: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is mirrored a moment later by the process that wrote it asks for no other sync and verify."""
    moment(3600.0)
    brings = Rounds(monkeypatch, JournalTable, "bring_in")
    settings = patient(note_timeout=0.6)
    async with forward(patient(note_timeout=60.0)) as other, forward(settings, start=True) as process:
        async with other.database.writer() as blocker:
            await blocker.execute("LOCK TABLE botdata.notes")
            await process.write(CLIENT)
            assert process.writer.spooled == 1
            await until(lambda: brings.begun > 0)  # it tries to bring the note in meanwhile
        await until(lambda: process.writer.pending == process.writer.spooled == 0)
        await until(lambda: at_dualwrite.ask(NOTES) == [])
    source, target = clients(at_dualwrite)
    assert source == target != []
    assert at_dualwrite.ask(LEFT_AT) == [(None,)]


@pytest.mark.parametrize(("settles_after", "warned"), [(29.0, True), (30.0, False)])
async def test_a_process_says_that_a_sync_could_come_before_its_slowest_write(
    at_dualwrite: Pair,
    patient: MakeSettings,
    caplog: pytest.LogCaptureFixture,
    settles_after: float,
    warned: bool,
) -> None:
    async with forward(patient(outcome_settles_after=settles_after, query_timeout=30.0), start=True):
        pass
    assert ("OUTCOME_SETTLES_AFTER (29 s) is shorter than QUERY_TIMEOUT (30 s)" in caplog.text) is warned


async def test_while_postgresql_is_known_to_be_down_a_write_does_not_ask_it(
    at_dualwrite: Pair, patient: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Rounds(monkeypatch, JournalTable, "insert")
    async with relay_to(None) as nobody:  # accepts connections, and never says a word
        settings = patient(database_url=nobody.database_url, note_timeout=0.3, mirror_wait=3600.0)
        async with asyncio.timeout(60), forward(settings) as process:
            for number in range(20):
                await process.write(CLIENT | {"yclients_id": number + 1})
            assert process.writer.spooled == 20
            assert asked.begun == 1


async def test_a_probe_that_hangs_does_not_keep_the_recovery_waiting(
    at_dualwrite: Pair, patient: MakeSettings, looks: Rounds
) -> None:
    async with relay_to(at_dualwrite.target) as relay:
        settings = patient(database_url=relay.database_url, note_timeout=0.3, mirror_timeout=5.0)
        async with forward(settings, start=True) as process:
            relay.silent = True
            await process.write(CLIENT)
            await looks.go_by(4)
            relay.silent = False
            await until(lambda: process.writer.pending == 0)
    source, target = clients(at_dualwrite)
    assert source == target != []


async def test_with_the_spool_unwritable_too_notes_are_kept_and_that_is_said(
    at_dualwrite: Pair, patient: MakeSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    async with relay_to(at_dualwrite.target) as relay:
        settings = patient(database_url=relay.database_url, note_timeout=0.4, cutover_spool=tmp_path / "file" / "spool")
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
    at_dualwrite: Pair, patient: MakeSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = patient(database_url="postgresql://nobody@127.0.0.1:1/none")
    row = {"user_id": "79990000001"}
    async with forward(settings, process="here:2:dead") as dead:
        await dead.write(row, model=models.DialogContext)
        for _ in range(2):
            await dead.write(CLIENT)
        assert dead.writer.spooled == 3
        assert dead.metrics.total("notes", place="spool") == 3
    caplog.set_level(logging.DEBUG, "app")
    async with forward(patient(), start=True):
        await until(lambda: len(at_dualwrite.ask(NOTES)) == 2)
        assert at_dualwrite.ask(NOTES) == [
            ("here:2:dead", "dialog_contexts", ["79990000001"], "unknown", 0, None),
            ("here:2:dead", "clients", ["7", "1"], "unknown", 0, None),
        ]
        await until(lambda: spool_files(tmp_path) == [])
    assert at_dualwrite.ask(LEFT_AT) != [(None,)]
    assert "79990000001" not in caplog.text
