"""Rows that are written to Supabase are in PostgreSQL a moment later, equal as text."""

from __future__ import annotations

from app.cutover.stages import Stage
from tests.cutover.conftest import MakeSettings, Pair
from tests.cutover.forward import forward

CLIENT = {"yclients_id": 7, "company_id": 1, "phone": "79990000001", "name": "Анна"}


async def test_a_write_reaches_both_stores_and_its_note_goes(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("dualwrite")
    async with forward(settings_of(mirror_wait=5.0)) as process:
        (row,) = await process.write(CLIENT)
        assert (row.name, row.id) == ("Анна", 1)
        assert pair.texts("clients", "source") == pair.texts("clients", "target") != []
        assert pair.ask("SELECT FROM botdata.notes") == []
        assert process.writer.pending == 0


async def test_at_stage_off_nothing_is_noted_or_mirrored(pair: Pair, settings_of: MakeSettings) -> None:
    async with forward(settings_of(mirror_wait=5.0)) as process:
        process.stage = Stage.OFF
        await process.write(CLIENT)
    assert len(pair.texts("clients", "source")) == 1
    assert pair.texts("clients", "target") == []
    assert pair.ask("SELECT last_value, is_called FROM botdata.notes_id_seq") == [(1, False)]
