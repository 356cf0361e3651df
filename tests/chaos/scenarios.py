"""Every scenario, in the order of the table."""

from __future__ import annotations

from tests.chaos import generated_calls
from tests.chaos.scenario import Scenario

SCENARIOS: list[Scenario] = [generated_calls.SCENARIO]
