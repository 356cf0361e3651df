"""The short form: each scenario with a small part of its faults."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.chaos.scenario import Chaos, Scenario
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.transcript import Transcript

_SHARE = 0.01


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_short_form(scenario: Scenario) -> None:
    transcript = Transcript()
    with tempfile.TemporaryDirectory(prefix="botdata-chaos-") as directory:
        Path(directory).chmod(0o755)  # the embedded servers run under a user of their own
        chaos = Chaos(1, _SHARE, Path(directory), transcript)
        scenario.run(chaos)
    outcome = chaos.outcome
    assert outcome.wrong == []
    assert outcome.injected > 0
    assert (outcome.survived, outcome.lost) == (outcome.injected, 0)
    assert transcript.leaks == []
