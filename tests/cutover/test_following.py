"""A process follows the row: it reports itself and changes its stage without a restart."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import psycopg
import pytest

from app.common.schemas import Schemas
from app.cutover import membership
from app.cutover.locks import HOLD_TURN
from app.cutover.membership import Membership
from app.cutover.moves import steps as moves
from app.data_layer import open_data_layer
from app.errors import UnavailableError
from app.state.cutover.processes import WriterCounts
from app.stores.postgres.database import Database
from tests.cutover.following import ask, client, relayed, set_stage, until, until_written
from tests.data_layer.relay import relay_to
from tests.fixtures.cutover import MakeSettings, Pair
from tests.support.rounds import Rounds

pytestmark = pytest.mark.usefixtures("looks_often")

STAGES = "SELECT stage FROM botdata.processes"
LONGEST_UNTIL_A_LOOK_ENDS = membership._INTERVAL + membership._LOOK_TIMEOUT


def test_a_look_ends_before_a_move_counts_a_process_as_late() -> None:
    assert LONGEST_UNTIL_A_LOOK_ENDS < moves._FOLLOW_WITHIN


async def test_the_stage_is_followed_without_a_restart(pair: Pair, settings_of: MakeSettings) -> None:
    async with open_data_layer(settings_of()) as data:
        assert await ask(pair, STAGES) == [("off",)]
        for stage in ("dualwrite", "shadow", "live", "rampdown", "complete", "rampdown", "live", "shadow", "off"):
            await set_stage(pair, stage)
            await until(pair, STAGES, [(stage,)])
            assert (await data.upsert_client(client(name=stage))).error is None
            store = "target" if stage in {"live", "rampdown", "complete"} else "source"
            assert await ask(pair, "SELECT name FROM clients", store=store) == [(stage,)]
            answer = await data.get_client_by_id(7)
            assert answer.data is not None
            assert answer.data.name == stage
    assert await ask(pair, STAGES) == []


async def test_what_a_process_reports(pair: Pair, settings_of: MakeSettings) -> None:
    async with open_data_layer(settings_of(cutover_stage="off")):
        report = (
            "SELECT stage, chosen_by, held_move, in_flight, pending_mirrors, spooled, problem, "
            "reported_at > clock_timestamp() - interval '2 seconds', name ~ '^[^:]+:[0-9]+:[0-9a-f]{6}$' "
            "FROM botdata.processes"
        )
        assert await ask(pair, report) == [("off", "CUTOVER_STAGE=off", None, 0, 0, 0, None, True, True)]
        [(first,)] = await ask(pair, "SELECT reported_at FROM botdata.processes")
        await until(pair, f"SELECT reported_at > '{first}' FROM botdata.processes", [(True,)])


async def test_a_process_registers_in_turn_so_that_many_keep_no_move_waiting(
    pair: Pair, settings_of: MakeSettings
) -> None:
    with psycopg.connect(pair.target) as mover:
        await asyncio.to_thread(mover.execute, Schemas().named(HOLD_TURN))
        async with open_data_layer(settings_of()):
            assert await ask(pair, STAGES) == []
            await asyncio.to_thread(mover.rollback)
            await until(pair, STAGES, [("off",)])


async def test_a_process_that_is_forgotten_registers_again_before_it_writes(
    pair: Pair, settings_of: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(pair.target) as mover:
        async with open_data_layer(settings_of()) as data:
            await asyncio.to_thread(mover.execute, "SELECT FROM botdata.stage FOR UPDATE")
            await ask(pair, "DELETE FROM botdata.processes")
            waits = "wait_event_type = 'Lock' AND datname = current_database()"
            registers = f"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE {waits})"
            await until(pair, registers, [(True,)])  # it knows
            monkeypatch.setattr(membership, "_GRACE", 0.1)
            answer = await data.upsert_client(client())
            assert (answer.error_code, answer.error) == (
                "unavailable",
                "this process could not report itself to the target; nothing was written",
            )
            assert await ask(pair, "SELECT FROM clients", store="source") == []
            monkeypatch.setattr(membership, "_GRACE", 60.0)
            waiting = asyncio.create_task(data.upsert_client(client()))
            await asyncio.to_thread(mover.commit)
            assert (await waiting).error is None
            assert await ask(pair, STAGES) == [("off",)]


async def test_a_process_that_loses_the_row_keeps_its_stage_and_says_so(
    pair: Pair, settings_of: MakeSettings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await set_stage(pair, "dualwrite")
    looks = Rounds(monkeypatch, Membership, "_try_to_look")
    async with relayed(pair.target) as (relay, url), open_data_layer(settings_of(database_url=url)) as data:
        with caplog.at_level(logging.WARNING, "app.data_layer"):
            relay.cut()
            await set_stage(pair, "shadow")
            await looks.go_by()
            for number in (1, 2):
                assert (await data.upsert_client(client(number))).error is None
        said = [text for text in caplog.messages if "the stage of the cutover cannot be read" in text]
        assert len(said) == 1
        assert "this process stays at dualwrite" in said[0]
        assert await ask(pair, STAGES) == [("dualwrite",)]
        assert len(await ask(pair, "SELECT FROM clients", store="source")) == 2
        relay.heal()
        await until(pair, STAGES, [("shadow",)])
        await until(pair, "SELECT count(*) FROM clients", [(2,)])


async def test_connections_that_fell_silent_do_not_keep_it_from_new_ones(
    pair: Pair, settings_of: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Rounds(monkeypatch, Membership, "_try_to_look")
    async with relay_to(pair.target) as relay, open_data_layer(settings_of(database_url=relay.database_url)):
        relay.silent = True  # what was sent meanwhile is lost
        with monkeypatch.context() as shorter:
            shorter.setattr(membership, "_LOOK_TIMEOUT", 0.3)
            await looks.go_by(5)  # more than it has connections
        relay.silent = False
        await set_stage(pair, "shadow")
        await until(pair, STAGES, [("shadow",)])


async def test_a_stage_that_was_never_read(pair: Pair, settings_of: MakeSettings) -> None:
    async with relayed(pair.target) as (relay, url):
        relay.cut()
        async with open_data_layer(settings_of(database_url=url)) as data:
            for answer in (await data.get_company(1), await data.upsert_client(client()), await data.health_check()):
                assert answer.error_code == "unavailable"
                assert answer.error is not None
                assert answer.error.startswith("where the cutover stands is not known yet: ")
            relay.heal()
            await until(pair, STAGES, [("off",)])
            await until_written(data, client())
    assert len(await ask(pair, "SELECT FROM clients", store="source")) == 1


@pytest.mark.first_command
async def test_a_target_without_the_row_names_what_makes_it(settings_of: MakeSettings, database_url: str) -> None:
    async with open_data_layer(settings_of(database_url=database_url)) as data:
        answer = await data.get_company(1)
        assert (answer.error_code, "`botdata upgrade`" in str(answer.error)) == ("unavailable", True)


@pytest.mark.parametrize(
    ("chosen", "lines"),
    [({"cutover_stage": "complete"}, 1), ({"cutover_stage": None, "use_repository_pattern": True}, 0)],
)
@pytest.mark.first_command
async def test_a_named_stage_without_the_row_is_told_for_nothing_is_recorded(
    settings_of: MakeSettings, database_url: str, caplog: pytest.LogCaptureFixture, chosen: dict[str, Any], lines: int
) -> None:
    async with open_data_layer(settings_of(database_url=database_url, **chosen)) as data:
        assert (await data.upsert_client(client())).error is None
    told = "the stage of the cutover cannot be read; this process stays at complete: the target has no stage to read"
    assert len([line for line in caplog.messages if line.startswith(told)]) == lines


@pytest.mark.parametrize(("spooled", "left"), [(0, 0), (1, 1)])
async def test_a_process_with_notes_in_its_spool_says_no_goodbye(
    pair: Pair, settings_of: MakeSettings, spooled: int, left: int
) -> None:
    settings = settings_of()
    database = Database(pair.target)
    member = Membership(database, settings.flags, "p", lambda: WriterCounts(spooled=spooled))
    with pytest.raises(UnavailableError):
        assert member.stage
    await member.start()
    await member.close()
    await database.close()
    assert await ask(pair, "SELECT name, spooled FROM botdata.processes") == [("p", 1)] * left


async def test_a_process_whose_first_look_did_not_end_says_goodbye_all_the_same(
    pair: Pair, settings_of: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "_LOOK_TIMEOUT", 0.3)
    await ask(
        pair,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(30); RETURN NEW; END'; "
        "CREATE TRIGGER slow BEFORE UPDATE ON botdata.processes FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    async with open_data_layer(settings_of()):
        await until(pair, STAGES, [("off",)])  # it has put its row there, and has no answer
        monkeypatch.setattr(membership, "_LOOK_TIMEOUT", 3.0)
    assert await ask(pair, STAGES) == []
