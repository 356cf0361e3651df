"""The tool's schema is not dropped under a cutover."""

from __future__ import annotations

import pytest

from app.cutover.moves.uninstalling import refuse_during_cutover
from app.errors import MigrationError
from app.migration.target.target_session import open_target
from tests.fixtures.cutover import Pair


async def _refuse(pair: Pair) -> None:
    async with open_target(pair.target, step="uninstall") as connection:
        await refuse_during_cutover(connection)


@pytest.mark.parametrize("stage", ["dualwrite", "shadow", "live", "rampdown", "complete"])
async def test_between_its_ends_a_cutover_keeps_the_schema(pair: Pair, stage: str) -> None:
    pair.set_stage(stage)
    with pytest.raises(MigrationError, match=f"stands at {stage}"):
        await _refuse(pair)


@pytest.mark.parametrize(
    "statement", ["UPDATE botdata.stage SET moved_at = now()", "SELECT 1", "UPDATE botdata.stage SET moved_at = NULL"]
)
async def test_at_off_it_may_go(pair: Pair, statement: str) -> None:
    pair.ask(statement)
    await _refuse(pair)


async def test_a_finished_one_may_go_once_no_process_follows(pair: Pair) -> None:
    pair.set_stage("complete")
    pair.ask("UPDATE botdata.stage SET finished_at = now()")
    pair.ask(
        "INSERT INTO botdata.processes (name, stage, chosen_by) VALUES ('a', 'complete', 'CUTOVER_STAGE=database'), "
        "('b', 'complete', 'USE_REPOSITORY_PATTERN=true')"
    )
    with pytest.raises(MigrationError, match=r"without it: a$") as refused:
        await _refuse(pair)
    assert "USE_REPOSITORY_PATTERN=true" in str(refused.value.next_step)
    pair.ask("DELETE FROM botdata.processes WHERE name = 'a'")
    await _refuse(pair)
