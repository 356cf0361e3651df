"""Every scenario in full, in slices: the faults of each slice are drawn with a seed of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.chaos.scenario import Chaos, Scenario
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.transcript import Transcript

_SLICES = 24
pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("seed", range(1, _SLICES + 1))
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_slice(scenario: Scenario, seed: int) -> None:
    transcript = Transcript()
    with tempfile.TemporaryDirectory(prefix="botdata-chaos-") as directory:
        Path(directory).chmod(0o755)  # the embedded servers run under a user of their own
        chaos = Chaos(seed, 1 / _SLICES, Path(directory), transcript)
        scenario.run(chaos)
    outcome = chaos.outcome
    assert outcome.wrong == []
    assert outcome.injected > 0
    assert (outcome.survived, outcome.lost) == (outcome.injected, 0)
    assert transcript.leaks == []
