"""The switches between the two stores, checked against each other."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from app.cutover.stages import Stage
from app.errors import SettingsError
from app.flags import STAGE_CHOICES, Flags


def flags(**given: Any) -> Flags:
    none: dict[str, Any] = {"use_repository_pattern": None, "cutover_stage": None}
    return Flags.of(**{**none, "use_legacy_supabase": True, "log_database_calls": False, **given})


@pytest.mark.parametrize(
    ("given", "stage", "chosen_by"),
    [
        ({}, Stage.OFF, "USE_REPOSITORY_PATTERN=false"),
        ({"use_repository_pattern": False}, Stage.OFF, "USE_REPOSITORY_PATTERN=false"),
        ({"use_repository_pattern": True}, Stage.COMPLETE, "USE_REPOSITORY_PATTERN=true"),
        ({"use_repository_pattern": True, "use_legacy_supabase": False}, Stage.COMPLETE, "USE_REPOSITORY_PATTERN=true"),
        *[({"cutover_stage": stage.value}, stage, f"CUTOVER_STAGE={stage}") for stage in Stage],
        ({"cutover_stage": "shadow", "use_repository_pattern": False}, Stage.SHADOW, "CUTOVER_STAGE=shadow"),
        ({"cutover_stage": "live", "use_repository_pattern": True}, Stage.LIVE, "CUTOVER_STAGE=live"),
        ({"cutover_stage": "complete", "use_legacy_supabase": False}, Stage.COMPLETE, "CUTOVER_STAGE=complete"),
        ({"cutover_stage": "database"}, None, "CUTOVER_STAGE=database"),
    ],
)
def test_the_stage_that_is_chosen(given: dict[str, Any], stage: Stage | None, chosen_by: str) -> None:
    chosen = flags(**given)
    assert (chosen.stage, chosen.chosen_by, chosen.notice) == (stage, chosen_by, None)
    assert chosen.names_a_stage == ("cutover_stage" in given)


def test_stages_that_can_be_chosen() -> None:
    assert STAGE_CHOICES == ("off", "dualwrite", "shadow", "live", "rampdown", "complete", "database")


@pytest.mark.parametrize("pattern", [False, True])
@pytest.mark.parametrize("stage", list(Stage))
def test_the_two_must_agree(stage: Stage, pattern: bool) -> None:
    if pattern == (stage in {Stage.LIVE, Stage.RAMPDOWN, Stage.COMPLETE}):
        assert flags(cutover_stage=stage.value, use_repository_pattern=pattern).stage is stage
        return
    with pytest.raises(SettingsError, match=f"^CUTOVER_STAGE={stage} has .* for authority, and USE_REPOSITORY_PATTERN"):
        flags(cutover_stage=stage.value, use_repository_pattern=pattern)


@pytest.mark.parametrize("pattern", [False, True])
def test_beside_the_row_the_older_switch_is_ignored(pattern: bool) -> None:
    chosen = flags(cutover_stage="database", use_repository_pattern=pattern)
    assert (chosen.stage, chosen.notice) == (
        None,
        "USE_REPOSITORY_PATTERN is ignored, since CUTOVER_STAGE=database follows the target's row",
    )


def test_no_backend_is_left() -> None:
    with pytest.raises(SettingsError, match="no backend is left; set USE_REPOSITORY_PATTERN=true"):
        flags(use_legacy_supabase=False)


@pytest.mark.parametrize("stage", ["off", "dualwrite", "shadow", "live", "rampdown", "database"])
def test_a_stage_that_may_need_supabase(stage: str) -> None:
    with pytest.raises(SettingsError, match=f"CUTOVER_STAGE={stage} may need Supabase; unset USE_LEGACY_SUPABASE"):
        flags(cutover_stage=stage, use_legacy_supabase=False)


def test_supabase_answers_by_default() -> None:
    assert Flags() == flags()


def test_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Flags().stage = Stage.LIVE  # type: ignore[misc]
