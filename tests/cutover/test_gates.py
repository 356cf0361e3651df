"""Each gate, broken on purpose: it refuses, says what, and names a remedy; with nothing broken it opens."""

from __future__ import annotations

import pytest

from app.cutover.stages import Stage
from app.migration.cutover.gates import Objection, Thresholds, objections
from app.migration.cutover.id_gap import raise_sequences
from app.settings import Settings
from tests.cutover.conftest import MakeSettings, Pair

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
