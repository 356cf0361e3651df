"""The gate that asks for a sync and a verify of each table: they have begun late enough, and found all equal."""

from __future__ import annotations

import pytest

from app.cutover.moves.gates.id_gap import raise_sequences
from app.cutover.stages import Stage
from tests.fixtures.gates import Ready


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
    await ready.refuses(what, remedy)


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
