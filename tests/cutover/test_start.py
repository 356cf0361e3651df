"""A process at its start: the stage that the environment fixes, beside the target's row and the other processes."""

from __future__ import annotations

from typing import Any

import pytest

from app.cutover.stages import Stage
from app.data_layer import open_data_layer
from app.errors import SettingsError
from tests.cutover.following import ask, client, relayed, set_stage, until, until_written
from tests.fixtures.cutover import MakeSettings, Pair

pytestmark = pytest.mark.usefixtures("looks_often")

PROCESSES = "SELECT stage, chosen_by FROM botdata.processes"


def chosen(stage: str) -> dict[str, Any]:
    """Settings that fix a stage; +true and +false are the older switch."""
    if stage.startswith("+"):
        return {"cutover_stage": None, "use_repository_pattern": stage == "+true"}
    return {"cutover_stage": stage}


@pytest.mark.parametrize(
    ("fixed", "row"),
    [("off", "live"), ("shadow", "dualwrite"), ("live", "shadow"), ("+true", "rampdown"), ("+false", "dualwrite")],
)
async def test_a_fixed_stage_that_contradicts_the_row_is_refused(
    pair: Pair, settings_of: MakeSettings, fixed: str, row: str
) -> None:
    await set_stage(pair, row)
    settings = settings_of(**chosen(fixed))
    with pytest.raises(SettingsError) as refused:
        async with open_data_layer(settings):
            pass
    assert str(refused.value) == (
        f"{settings.flags.chosen_by} fixes the stage {settings.flags.stage}, and the cutover stands at {row}; "
        "set CUTOVER_STAGE=database to follow it"
    )
    assert await ask(pair, PROCESSES) == []


@pytest.mark.parametrize("fixed", [*[stage.value for stage in Stage], "+true", "+false"])
@pytest.mark.parametrize("managed", [True, False])
async def test_a_fixed_stage_that_does_not(pair: Pair, settings_of: MakeSettings, fixed: str, managed: bool) -> None:
    settings = settings_of(**chosen(fixed))
    assert settings.flags.stage is not None
    if managed:
        await set_stage(pair, settings.flags.stage)
    async with open_data_layer(settings) as data:
        assert await ask(pair, PROCESSES) == [(settings.flags.stage.value, settings.flags.chosen_by)]
        assert (await data.upsert_client(client())).error is None
        here = await ask(pair, "SELECT name FROM clients", store="target")
        there = await ask(pair, "SELECT name FROM clients", store="source")
        recorded = await ask(pair, "SELECT count(*) FROM botdata.outbox")
    written = [("Анна",)]
    match settings.flags.stage:
        case Stage.OFF:
            assert (there, here, recorded) == (written, [], [(0,)])
        case Stage.COMPLETE:  # the plain switch records nothing while no command has moved the stage
            assert (there, here, recorded) == ([], written, [(0 if fixed == "+true" and not managed else 1,)])
        case stage:
            assert (there if stage.authority == "supabase" else here) == written
    if settings.flags.stage.mirrors:  # close() waits for the mirror
        assert pair.texts("clients", "target") == pair.texts("clients", "source") != []
    assert await ask(pair, PROCESSES) == []


@pytest.mark.parametrize("fixed", ["live", "complete", "+true"])
async def test_postgresql_is_no_authority_beside_a_process_that_follows(
    pair: Pair, settings_of: MakeSettings, fixed: str
) -> None:
    async with open_data_layer(settings_of()):
        [(name,)] = await ask(pair, "SELECT name FROM botdata.processes")
        with pytest.raises(SettingsError, match=f"beside processes that follow the row, where it is Supabase: {name}"):
            async with open_data_layer(settings_of(**chosen(fixed))):
                pass
        assert await ask(pair, "SELECT name FROM botdata.processes") == [(name,)]
    async with open_data_layer(settings_of(**chosen(fixed))):
        pass


async def test_a_stage_that_moves_away_from_a_fixed_one(pair: Pair, settings_of: MakeSettings) -> None:
    async with open_data_layer(settings_of(**chosen("+false"))) as off, open_data_layer(settings_of()):
        await set_stage(pair, "dualwrite")
        contradiction = "USE_REPOSITORY_PATTERN=false fixes the stage off, and the cutover stands at {}"
        report = "SELECT split_part(problem, ';', 1) FROM botdata.processes WHERE chosen_by LIKE 'USE_%'"
        await until(pair, report, [(contradiction.format("dualwrite"),)])
        assert (await off.upsert_client(client(1))).error is None  # the authority is the same
        await set_stage(pair, "live")
        await until(pair, report, [(contradiction.format("live"),)])
        answer = await off.upsert_client(client(2))
        assert answer.error_code == "unavailable"
        assert str(answer.error).startswith(contradiction.format("live"))
        assert len(await ask(pair, "SELECT FROM clients", store="source")) == 1


@pytest.mark.parametrize("fixed", ["off", "+false"])
async def test_off_goes_on_as_before_while_the_target_is_away(
    pair: Pair, settings_of: MakeSettings, fixed: str
) -> None:
    await set_stage(pair, "live")
    async with relayed(pair.target) as (relay, url):
        relay.cut()
        async with open_data_layer(settings_of(**chosen(fixed), database_url=url)) as data:
            assert (await data.upsert_client(client(1))).error is None
            relay.heal()
            await until(pair, "SELECT stage, problem IS NOT NULL FROM botdata.processes", [("off", True)])
            assert (await data.upsert_client(client(2))).error_code == "unavailable"  # it knows now
    assert len(await ask(pair, "SELECT FROM clients", store="source")) == 1


@pytest.mark.parametrize("fixed", ["dualwrite", "shadow"])
async def test_a_stage_with_two_stores_waits_for_the_row(pair: Pair, settings_of: MakeSettings, fixed: str) -> None:
    async with relayed(pair.target) as (relay, url):
        relay.cut()
        async with open_data_layer(settings_of(cutover_stage=fixed, database_url=url)) as data:
            assert (await data.upsert_client(client(1))).error_code == "unavailable"
            assert (await data.get_client_by_id(1)).error_code == "unavailable"
            relay.heal()
            await until_written(data, client(1))
    assert pair.texts("clients", "target") == pair.texts("clients", "source") != []


async def test_the_older_switch_beside_the_row_is_told(
    settings_of: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_data_layer(settings_of(use_repository_pattern=True)):
        pass
    assert "USE_REPOSITORY_PATTERN is ignored, since CUTOVER_STAGE=database follows the target's row" in caplog.messages


@pytest.mark.parametrize("address", ["-all.supabase.co", "-rr-us-east-1-abcde.supabase.co/"])
async def test_an_address_whose_reads_replicas_answer_is_for_the_stage_off(
    settings_of: MakeSettings, address: str
) -> None:
    """A mirror would take a row of before the last write for the newest."""
    project = "https://abcdefghijklmnopqrst"
    with pytest.raises(SettingsError, match=rf"own is {project}\.supabase\.co$"):
        async with open_data_layer(settings_of(supabase_url=project + address)):
            pass
    async with open_data_layer(settings_of(cutover_stage="off", database_url=None, supabase_url=project + address)):
        pass  # nothing is asked yet
