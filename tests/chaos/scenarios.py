"""Every scenario, in the order of the table."""

from __future__ import annotations

from tests.chaos import cancelled_calls, generated_calls, processes
from tests.chaos.scenario import Scenario

SCENARIOS: list[Scenario] = [processes.SCENARIO, generated_calls.SCENARIO, cancelled_calls.SCENARIO]
