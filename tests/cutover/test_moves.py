"""Moves of the stage by one step, and what each leaves behind in the target."""

from itertools import pairwise

from app.cutover.stages import Stage
from app.migration.cutover.moves import advance, back
from tests.cutover.conftest import MakeSettings, Pair
from tests.cutover.reporting import reporting


async def test_from_off_to_complete_and_back(pair: Pair, settings_of: MakeSettings) -> None:
    settings = settings_of()
    async with reporting(pair.target, "one:1:000000", "two:2:000000"):
        for move, kind, stages in ((advance, "advance", list(Stage)), (back, "back", list(reversed(Stage)))):
            for before, to in pairwise(stages):
                outcome = await move(settings, force="a test")
                assert (outcome.before, outcome.to, outcome.moved, outcome.ok) == (before, to, True, True)
                assert pair.ask("SELECT stage, moved_at IS NOT NULL FROM botdata.stage") == [(to, True)]
                newest = pair.ask(
                    "SELECT kind, from_stage, to_stage, state FROM botdata.moves ORDER BY id DESC LIMIT 1"
                )
                assert newest == [(kind, before, to, "done")]
