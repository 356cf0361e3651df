"""Each gate, broken on purpose: it refuses, says what, and names a remedy; with nothing broken it opens."""

from __future__ import annotations

import pytest

from app.cutover.moves.gates.id_gap import raise_sequences
from app.cutover.moves.gates.objections import Thresholds
from app.cutover.stages import Stage
from app.errors import MigrationError
from app.migration.preflight.findings import Accepted
from tests.fixtures.cutover import MakeSettings
from tests.fixtures.gates import Ready


@pytest.mark.parametrize("stage", [Stage.OFF, Stage.DUALWRITE, Stage.SHADOW, Stage.LIVE, Stage.RAMPDOWN])
async def test_with_nothing_broken_every_gate_opens(ready: Ready, stage: Stage) -> None:
    ready.reach(stage)
    if stage is Stage.SHADOW:
        await raise_sequences(ready.settings)
    assert await ready.against_next() == []


@pytest.mark.parametrize(
    ("given", "what", "remedy"),
    [
        (
            {"reported_at": "now() - interval '1 min'"},
            "process late:1:a last reported",
            "botdata cutover forget late:1:a",
        ),
        ({"stage": "'live'"}, "process late:1:a reports live, and the stage is dualwrite", "botdata cutover status"),
        ({"chosen_by": "'CUTOVER_STAGE=dualwrite'"}, "late:1:a does not follow moves", "CUTOVER_STAGE=database"),
        ({"problem": "'its spool is full'"}, "late:1:a is in trouble: its spool is full", "put that right"),
        ({"spooled": "3"}, "process late:1:a keeps 3 notes in its spool file", "botdata sync"),
    ],
)
async def test_a_process_stands_against_it(ready: Ready, given: dict[str, str], what: str, remedy: str) -> None:
    ready.reach(Stage.DUALWRITE)
    ready.process("late:1:a", **given)
    await ready.refuses(what, remedy)


async def test_no_process_at_all(ready: Ready) -> None:
    ready.reach(Stage.LIVE)
    ready.pair.ask("DELETE FROM botdata.processes")
    await ready.refuses("no process of the bot reports itself", "start the bot with CUTOVER_STAGE=database")


@pytest.mark.parametrize("stage", [Stage.OFF, Stage.DUALWRITE, Stage.SHADOW])
@pytest.mark.parametrize("store", ["source", "target"])
async def test_a_schema_that_has_drifted(ready: Ready, stage: Stage, store: str) -> None:
    ready.reach(stage)
    await raise_sequences(ready.settings)
    ready.pair.ask("ALTER TABLE staff RENAME rating TO rated", store=store)
    try:
        found = await ready.against_next()
    finally:
        ready.pair.ask("ALTER TABLE staff RENAME rated TO rating", store=store)
    assert any("rating" in one.what and store in one.what for one in found), found
    assert all("staff" in one.what for one in found), found


async def test_a_supabase_that_cannot_be_looked_at(ready: Ready, settings_of: MakeSettings) -> None:
    ready.reach(Stage.OFF)
    ready.settings = settings_of(supabase_url="http://127.0.0.1:9")
    await ready.refuses("Supabase's schema could not be looked at", "botdata preflight")


async def test_what_preflight_may_accept_is_no_objection(ready: Ready) -> None:
    ready.reach(Stage.OFF)
    ready.pair.ask("ALTER TABLE staff ALTER rating SET NOT NULL")
    await ready.refuses("staff: column rating of the target is not as the models say", "botdata preflight")
    accepted = Thresholds(accepted=Accepted(frozenset({"target-nullability-differs:staff.rating"})))
    assert await ready.against(Stage.DUALWRITE, accepted) == []


@pytest.mark.parametrize("stage", [Stage.OFF, Stage.DUALWRITE])
async def test_rows_in_quarantine(ready: Ready, stage: Stage) -> None:
    ready.reach(stage)
    ready.pair.ask(
        "WITH run AS (INSERT INTO botdata.runs (command, source) VALUES ('copy', 's') RETURNING id) "
        "INSERT INTO botdata.quarantine (run_id, table_name, key, row_text, sqlstate, message) "
        "SELECT id, 'clients', '{7}', '{}', '23514', '' FROM run"
    )
    await ready.refuses("clients: 1 rows in quarantine", "botdata quarantine list --tables clients")


@pytest.mark.parametrize(
    ("stage", "command"), [(Stage.SHADOW, "botdata sync,"), (Stage.LIVE, "botdata sync --reverse,")]
)
async def test_foreign_keys_that_are_not_proved(ready: Ready, stage: Stage, command: str) -> None:
    ready.reach(stage)
    if stage is Stage.SHADOW:
        await raise_sequences(ready.settings)
    ready.pair.ask("ALTER TABLE bookings ADD of_client integer CONSTRAINT of_client REFERENCES clients")
    ready.pair.ask(
        "WITH run AS (INSERT INTO botdata.runs (command, source) VALUES ('verify --fix', 's') RETURNING id) "
        "INSERT INTO botdata.foreign_keys (run_id, schema_name, table_name, name, referenced, definition, orphans, "
        "state) SELECT id, 'public', 'bookings', 'of_client', 'public.clients', '', '', 'unproved' FROM run"
    )
    await ready.refuses("foreign keys that are not proved: of_client of bookings", command)
    ready.pair.ask("UPDATE botdata.foreign_keys SET state = 'validated'")
    assert await ready.against_next() == []


async def test_a_table_that_was_never_copied(ready: Ready) -> None:
    ready.reach(Stage.OFF)
    ready.pair.ask("DELETE FROM botdata.synced_tables WHERE table_name IN ('staff', 'bookings')")
    await ready.refuses("never copied whole: bookings, staff", "botdata copy --tables bookings,staff")
    ready.pair.ask(
        "WITH run AS (INSERT INTO botdata.runs (command, source) VALUES ('copy', 's') RETURNING id) "
        "INSERT INTO botdata.checkpoints (run_id, table_name, source_before, state) "
        "SELECT id, name, 0, 'complete' FROM run, unnest('{staff,bookings}'::text[]) name"
    )
    assert await ready.against_next() == []


@pytest.mark.parametrize(
    "given",
    [
        {"attempts": "1"},
        {"state": "'unknown'"},
        {"noted_at": "now() - interval '1 min'"},
        {"process": "'one that has gone'"},
    ],
)
async def test_a_note_that_was_left(ready: Ready, given: dict[str, str]) -> None:
    ready.reach(Stage.DUALWRITE)
    row = {"process": "'host:1:abcdef'", "table_name": "'clients'", "key": "'{7,1}'", "noted_at": "now()"} | given
    ready.pair.ask(f"INSERT INTO botdata.notes ({', '.join(row)}) VALUES ({', '.join(row.values())})")
    await ready.refuses("clients: 1 notes of writes that PostgreSQL may not have", "botdata sync")


async def test_a_note_of_a_write_that_is_just_being_made(ready: Ready) -> None:
    ready.reach(Stage.DUALWRITE)
    ready.pair.ask("INSERT INTO botdata.notes (process, table_name, key) VALUES ('host:1:abcdef', 'clients', '{7,1}')")
    assert await ready.against_next() == []


async def test_a_sequence_that_would_give_out_ids_of_supabase(ready: Ready) -> None:
    ready.reach(Stage.SHADOW)
    await raise_sequences(ready.settings)
    ready.pair.ask("SELECT setval('clients_id_seq', 41)")
    ready.pair.ask("INSERT INTO clients (id, yclients_id, company_id, phone) VALUES (77, 1, 1, '7')", store="source")
    await ready.refuses("clients.id: the next id of PostgreSQL is 42, and Supabase is at 77", "botdata cutover advance")
    assert [gap.table for gap in await raise_sequences(ready.settings)] == ["clients"]
    assert await ready.against_next() == []


@pytest.mark.parametrize("stage", [Stage.SHADOW, Stage.LIVE])
async def test_comparisons_that_are_too_few_or_differ(ready: Ready, stage: Stage) -> None:
    ready.reach(stage)
    await raise_sequences(ready.settings)
    ready.compared("get_services", equal=1)
    ready.compared("get_services", equal=1, process="another")
    ready.compared("get_services", equal=9, age="25 h")
    await ready.refuses(f"get_services: 2 comparisons in the last 24 h at {stage}", "botdata cutover report")
    ready.compared("get_services", different=1, process="a third")
    await ready.refuses("get_services: 1 confirmed differences", "botdata cutover report")
    assert await ready.against(Stage(stage.next or stage), Thresholds(comparisons=3, differences=1)) == []


async def test_nothing_was_compared(ready: Ready) -> None:
    ready.reach(Stage.SHADOW)
    await raise_sequences(ready.settings)
    ready.pair.ask("UPDATE botdata.comparisons SET against_itself = true")
    await ready.refuses("no answer was compared in the last 24 h at shadow", "COMPARE_SAMPLING")


async def test_a_thousand_comparisons_are_asked_for_by_default(ready: Ready) -> None:
    ready.reach(Stage.LIVE)
    await ready.refuses("3 comparisons in the last 24 h at live, and 1,000 are asked for", "report", Thresholds())


@pytest.mark.parametrize("stage", [Stage.LIVE, Stage.RAMPDOWN])
async def test_an_outbox_that_does_not_empty(ready: Ready, stage: Stage) -> None:
    ready.reach(stage)
    add = "INSERT INTO botdata.outbox (process, table_name, key, recorded_at, last_error) VALUES ('p', 'clients', "
    ready.pair.ask(add + "'{1,1}', now() - interval '50 s', NULL)")
    assert await ready.against_next() == []
    ready.pair.ask(add + "'{2,1}', now() - interval '70 s', NULL)")
    await ready.refuses("1 entries of the outbox wait for longer than 60 s", "botdata mirror drain")
    ready.pair.ask("TRUNCATE botdata.outbox")
    ready.pair.ask(add + "'{3,1}', now(), 'a constraint refuses the row')")
    await ready.refuses("(last error: a constraint refuses the row)", "botdata mirror retry")


async def test_a_target_without_the_tables_of_a_cutover(ready: Ready) -> None:
    ready.pair.ask("DROP SCHEMA botdata CASCADE")
    with pytest.raises(MigrationError) as caught:
        await ready.against(Stage.DUALWRITE)
    assert "botdata upgrade" in str(caught.value.next_step)
