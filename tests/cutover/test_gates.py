"""Each gate, broken on purpose: it refuses, says what, and names a remedy; with nothing broken it opens."""

from __future__ import annotations

from typing import Any

import pytest

from app.cutover.moves.gates.id_gap import raise_sequences
from app.cutover.moves.gates.objections import Objection, Thresholds, objections
from app.cutover.moves.gates.outbox_gate import unsent
from app.cutover.stages import Stage
from app.errors import MigrationError
from app.migration.preflight.findings import Accepted
from app.migration.target.target_session import open_target
from app.settings import Settings
from tests.fixtures.cutover import MakeSettings, Pair

BUSINESS = (
    "actions", "bookings", "clients", "companies", "company_sync_status", "dialog_contexts", "messages", "services",
    "staff", "staff_schedules",
)  # fmt: skip
_FEW = Thresholds(comparisons=3)


class Ready:
    """A target at a stage at which nothing stands against the next one."""

    def __init__(self, pair: Pair, settings: Settings) -> None:
        self.pair = pair
        self.settings = settings
        self.stage = Stage.OFF

    def reach(self, stage: Stage) -> None:
        """Put the row there, with all that the gate behind it asks for."""
        self.stage = stage
        self.pair.set_stage(stage)
        self.pair.ask("UPDATE botdata.stage SET moved_at = clock_timestamp() - interval '1 hour'")
        self.process("host:1:abcdef")
        for number, table in enumerate(BUSINESS):
            self.pair.ask(
                "INSERT INTO botdata.synced_tables (table_name, source, began_at, ended_at) VALUES "
                f"('{table}', 's', now() - interval '{30 + number} min', now() - interval '{29 + number} min')"
            )
            self.pair.ask(
                "INSERT INTO botdata.verifications (source, table_name, began_at, differences) VALUES "
                f"('s', '{table}', now() - interval '20 min', 0)"
            )
        self.compared("get_client_by_phone", equal=3)

    def process(self, name: str, **given: str) -> None:
        """A process that follows, and that began before the move to the stage and reports until after the test."""
        row = {
            "stage": f"'{self.stage}'",
            "chosen_by": "'CUTOVER_STAGE=database'",
            "began_at": "now() - interval '2 h'",
        }
        row |= {"stage_since": "now() - interval '59 min'", "reported_at": "now() + interval '1 min'"} | given
        self.pair.ask(
            f"INSERT INTO botdata.processes (name, {', '.join(row)}) VALUES ('{name}', {', '.join(row.values())})"
        )

    def compared(
        self, method: str, *, equal: int = 0, different: int = 0, age: str = "1 min", process: str = "p"
    ) -> None:
        """Comparisons at the present stage."""
        self.pair.ask(
            "INSERT INTO botdata.comparisons (process, minute, stage, method, calls, equal, different) VALUES "
            f"('{process}', now() - interval '{age}', '{self.stage}', '{method}', {equal + different}, {equal}, "
            f"{different})"
        )

    async def against(self, to: Stage, thresholds: Thresholds = _FEW) -> list[Objection]:
        """The objections to a stage."""
        return await objections(self.settings, to, thresholds)

    async def against_next(self) -> list[Objection]:
        """Those to the next one."""
        assert self.stage.next is not None
        return await self.against(self.stage.next)


@pytest.fixture
def ready(pair: Pair, settings_of: MakeSettings) -> Ready:
    return Ready(pair, settings_of())


def _one(found: list[Objection], what: str, remedy: str) -> None:
    """There is one objection, and it says this."""
    assert [(what in one.what, remedy in one.remedy) for one in found] == [(True, True)], found


@pytest.mark.parametrize("stage", [Stage.OFF, Stage.DUALWRITE, Stage.SHADOW, Stage.LIVE, Stage.RAMPDOWN])
async def test_with_nothing_broken_every_gate_opens(ready: Ready, stage: Stage) -> None:
    ready.reach(stage)
    if stage is Stage.SHADOW:
        await raise_sequences(ready.settings)
    assert await ready.against_next() == []


async def _refuses(ready: Ready, what: str, remedy: str, thresholds: Thresholds = _FEW) -> None:
    assert ready.stage.next is not None
    _one(await ready.against(ready.stage.next, thresholds), what, remedy)


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
    await _refuses(ready, what, remedy)


async def test_no_process_at_all(ready: Ready) -> None:
    ready.reach(Stage.LIVE)
    ready.pair.ask("DELETE FROM botdata.processes")
    await _refuses(ready, "no process of the bot reports itself", "start the bot with CUTOVER_STAGE=database")


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
    await _refuses(ready, "Supabase's schema could not be looked at", "botdata preflight")


async def test_what_preflight_may_accept_is_no_objection(ready: Ready) -> None:
    ready.reach(Stage.OFF)
    ready.pair.ask("ALTER TABLE staff ALTER rating SET NOT NULL")
    await _refuses(ready, "staff: column rating of the target is not as the models say", "botdata preflight")
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
    await _refuses(ready, "clients: 1 rows in quarantine", "botdata quarantine list --tables clients")


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
    await _refuses(ready, "foreign keys that are not proved: of_client of bookings", command)
    ready.pair.ask("UPDATE botdata.foreign_keys SET state = 'validated'")
    assert await ready.against_next() == []


async def test_a_table_that_was_never_copied(ready: Ready) -> None:
    ready.reach(Stage.OFF)
    ready.pair.ask("DELETE FROM botdata.synced_tables WHERE table_name IN ('staff', 'bookings')")
    await _refuses(ready, "never copied whole: bookings, staff", "botdata copy --tables bookings,staff")
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
    await _refuses(ready, "clients: 1 notes of writes that PostgreSQL may not have", "botdata sync")


async def test_a_note_of_a_write_that_is_just_being_made(ready: Ready) -> None:
    ready.reach(Stage.DUALWRITE)
    ready.pair.ask("INSERT INTO botdata.notes (process, table_name, key) VALUES ('host:1:abcdef', 'clients', '{7,1}')")
    assert await ready.against_next() == []


@pytest.mark.parametrize("stage", [Stage.DUALWRITE, Stage.SHADOW])
@pytest.mark.parametrize(
    ("broken", "what", "remedy"),
    [
        ("UPDATE botdata.synced_tables SET began_at = now() - interval '2 h' WHERE table_name = 'clients'",
         "clients: not synced since", "botdata sync --tables clients"),
        ("DELETE FROM botdata.synced_tables WHERE table_name = 'bookings'",
         "bookings: not synced since", "botdata sync --tables bookings"),
        ("UPDATE botdata.verifications SET began_at = now() - interval '2 h' WHERE table_name = 'staff'",
         "staff: not verified since", "botdata verify --tables staff"),
        ("UPDATE botdata.verifications SET timeline = timeline - 1 WHERE table_name = 'clients'",  # before a failover
         "clients: not verified since", "botdata verify --tables clients"),
        ("UPDATE botdata.synced_tables SET timeline = timeline - 1 WHERE table_name = 'clients'",
         "clients: not synced since", "botdata sync --tables clients"),
        ("DELETE FROM botdata.verifications WHERE table_name = 'services'",
         "services: not verified since", "botdata verify --tables services"),
        ("INSERT INTO botdata.verifications (source, table_name, began_at, differences) "
         "VALUES ('s', 'clients', now(), 2)",
         "clients: the last verify found 2 differences", "botdata sync --tables clients"),
        ("UPDATE botdata.synced_tables SET changed_at = now() - interval '10 min' WHERE table_name = 'clients'",
         "clients: the last verify is older than the last sync", "botdata verify --tables clients"),
    ],
)  # fmt: skip
async def test_a_table_without_proof(ready: Ready, stage: Stage, broken: str, what: str, remedy: str) -> None:
    ready.reach(stage)
    await raise_sequences(ready.settings)
    ready.pair.ask(broken)
    await _refuses(ready, what, remedy)


async def test_proofs_begin_after_the_last_note_that_was_left(ready: Ready) -> None:
    ready.reach(Stage.DUALWRITE)
    ready.pair.ask("UPDATE botdata.last_left_note SET left_at = now() - interval '25 min'")
    found = await ready.against_next()
    assert ["not synced since" in one.what for one in found] == [True]
    ready.pair.ask("UPDATE botdata.last_left_note SET left_at = now() - interval '15 min'")
    found = await ready.against_next()
    assert ["not synced since" in one.what or "not verified since" in one.what for one in found] == [True, True]


async def test_proofs_begin_after_every_process_had_followed_to_dualwrite(ready: Ready) -> None:
    ready.reach(Stage.DUALWRITE)
    ready.process("slow:1:a", stage_since="now() - interval '10 min'")
    assert len(await ready.against_next()) == 2
    ready.pair.ask("UPDATE botdata.processes SET began_at = now() - interval '11 min' WHERE name = 'slow:1:a'")
    assert await ready.against_next() == []  # it mirrored from its first write on


async def test_a_step_to_shadow_that_was_forced_says_nothing_of_the_processes(ready: Ready) -> None:
    ready.reach(Stage.SHADOW)
    await raise_sequences(ready.settings)
    ready.process("slow:1:a", stage_since="now() - interval '10 min'")
    moves = (
        "INSERT INTO botdata.moves (kind, from_stage, to_stage, state, ended_at, done_by, reason) VALUES "
        "('advance', 'off', 'dualwrite', 'done', now() - interval '55 min', 'me', NULL), "
        "('advance', 'dualwrite', 'shadow', 'done', now() - interval '50 min', 'me', {})"
    )
    ready.pair.ask(moves.format("NULL"))
    assert await ready.against_next() == []
    ready.pair.ask("TRUNCATE botdata.moves")
    ready.pair.ask(moves.format("'in a hurry'"))
    assert len(await ready.against_next()) == 2


async def test_a_table_of_its_own_that_has_moved_needs_no_proof(ready: Ready) -> None:
    ready.reach(Stage.SHADOW)
    await raise_sequences(ready.settings)
    ready.pair.ask("DELETE FROM botdata.synced_tables WHERE table_name = 'bookings'")
    ready.pair.ask("INSERT INTO botdata.table_authority (table_name, authority) VALUES ('bookings', 'postgres')")
    assert await ready.against_next() == []


async def test_a_sequence_that_would_give_out_ids_of_supabase(ready: Ready) -> None:
    ready.reach(Stage.SHADOW)
    await raise_sequences(ready.settings)
    ready.pair.ask("SELECT setval('clients_id_seq', 41)")
    ready.pair.ask("INSERT INTO clients (id, yclients_id, company_id, phone) VALUES (77, 1, 1, '7')", store="source")
    await _refuses(
        ready, "clients.id: the next id of PostgreSQL is 42, and Supabase is at 77", "botdata cutover advance"
    )
    assert [gap.table for gap in await raise_sequences(ready.settings)] == ["clients"]
    assert await ready.against_next() == []


@pytest.mark.parametrize("stage", [Stage.SHADOW, Stage.LIVE])
async def test_comparisons_that_are_too_few_or_differ(ready: Ready, stage: Stage) -> None:
    ready.reach(stage)
    await raise_sequences(ready.settings)
    ready.compared("get_services", equal=1)
    ready.compared("get_services", equal=1, process="another")
    ready.compared("get_services", equal=9, age="25 h")
    await _refuses(ready, f"get_services: 2 comparisons in the last 24 h at {stage}", "botdata cutover report")
    ready.compared("get_services", different=1, process="a third")
    await _refuses(ready, "get_services: 1 confirmed differences", "botdata cutover report")
    assert await ready.against(Stage(stage.next or stage), Thresholds(comparisons=3, differences=1)) == []


async def test_nothing_was_compared(ready: Ready) -> None:
    ready.reach(Stage.SHADOW)
    await raise_sequences(ready.settings)
    ready.pair.ask("UPDATE botdata.comparisons SET against_itself = true")
    await _refuses(ready, "no answer was compared in the last 24 h at shadow", "COMPARE_SAMPLING")


async def test_a_thousand_comparisons_are_asked_for_by_default(ready: Ready) -> None:
    ready.reach(Stage.LIVE)
    await _refuses(ready, "3 comparisons in the last 24 h at live, and 1,000 are asked for", "report", Thresholds())


@pytest.mark.parametrize("stage", [Stage.LIVE, Stage.RAMPDOWN])
async def test_an_outbox_that_does_not_empty(ready: Ready, stage: Stage) -> None:
    ready.reach(stage)
    add = "INSERT INTO botdata.outbox (process, table_name, key, recorded_at, last_error) VALUES ('p', 'clients', "
    ready.pair.ask(add + "'{1,1}', now() - interval '50 s', NULL)")
    assert await ready.against_next() == []
    ready.pair.ask(add + "'{2,1}', now() - interval '70 s', NULL)")
    await _refuses(ready, "1 entries of the outbox wait for longer than 60 s", "botdata mirror drain")
    ready.pair.ask("TRUNCATE botdata.outbox")
    ready.pair.ask(add + "'{3,1}', now(), 'a constraint refuses the row')")
    await _refuses(ready, "(last error: a constraint refuses the row)", "botdata mirror retry")


async def test_a_target_without_the_tables_of_a_cutover(ready: Ready) -> None:
    ready.pair.ask("DROP SCHEMA botdata CASCADE")
    with pytest.raises(MigrationError) as caught:
        await ready.against(Stage.DUALWRITE)
    assert "botdata upgrade" in str(caught.value.next_step)


@pytest.mark.parametrize("stage", [Stage.DUALWRITE, Stage.SHADOW, Stage.RAMPDOWN, Stage.COMPLETE])
async def test_back_asks_for_nothing_that_the_way_forward_does(ready: Ready, stage: Stage) -> None:
    ready.reach(stage)
    for table in ("synced_tables", "verifications", "comparisons", "processes"):
        ready.pair.ask(f"TRUNCATE botdata.{table}")
    ready.pair.ask("ALTER TABLE staff RENAME rating TO rated")
    assert stage.previous is not None
    assert await ready.against(stage.previous) == []


async def test_back_from_live_says_what_would_be_lost(ready: Ready) -> None:
    ready.reach(Stage.LIVE)
    assert await ready.against(Stage.SHADOW) == []
    add = "INSERT INTO botdata.outbox (process, table_name, key, attempts) VALUES "
    ready.pair.ask(add + "('host:1:abcdef', 'clients', '{1,1}', 0)")
    assert await ready.against(Stage.SHADOW) == []  # it is just being sent, and settles behind the barrier
    ready.pair.ask(add + "('host:1:abcdef', 'services', '{1,1}', 2)")
    found = await ready.against(Stage.SHADOW)
    assert [one.loses_outbox for one in found] == [True, True]
    assert "services: 1 writes that Supabase does not have yet would be lost" in found[1].what


async def test_writes_that_are_on_their_way_are_no_loss_however_many_come_meanwhile(ready: Ready) -> None:
    ready.reach(Stage.LIVE)
    entry = "INSERT INTO botdata.outbox (process, table_name, key) VALUES ('host:1:abcdef', 'clients', '{7}')"
    ready.pair.ask(entry)
    async with open_target(ready.pair.target, step="test") as connection:
        execute = connection.execute

        async def busy(*given: Any, **options: Any) -> Any:
            cursor = await execute(*given, **options)
            ready.pair.ask(entry)  # another write, behind each statement of the gate
            return cursor

        connection.execute = busy  # type: ignore[method-assign]
        assert await unsent(connection) == []
    ready.pair.ask("UPDATE botdata.outbox SET recorded_at = now() - interval '11 s' WHERE id = 1")
    (one,) = await ready.against(Stage.SHADOW)
    assert "clients: 2 writes that Supabase does not have yet would be lost" in one.what


async def test_back_from_live_a_table_of_its_own_that_the_bot_reads_would_stay_behind(ready: Ready) -> None:
    ready.reach(Stage.LIVE)
    ready.pair.ask(
        "INSERT INTO botdata.table_authority (table_name, authority) "
        "VALUES ('bookings', 'postgres'), ('messages', 'postgres')"
    )
    (one,) = await ready.against(Stage.SHADOW)
    assert ("bookings" in one.what, one.loses_outbox) == (True, False)
    assert "botdata sync --reverse --tables bookings" in one.remedy


async def test_back_after_the_finish(ready: Ready) -> None:
    ready.reach(Stage.COMPLETE)
    ready.pair.ask("UPDATE botdata.stage SET finished_at = now()")
    _one(await ready.against(Stage.RAMPDOWN), "the way back was ended", "botdata sync --reverse")
