"""Every scenario, in the order of the table."""

from __future__ import annotations

from tests.chaos import (
    cancelled_calls,
    failovers,
    fidelity,
    generated_calls,
    hostile_source,
    http_answers,
    postgres_faults,
    processes,
    streams,
)
from tests.chaos.scenario import Scenario

SCENARIOS: list[Scenario] = [
    processes.SCENARIO,
    http_answers.SCENARIO,
    postgres_faults.SCENARIO,
    generated_calls.SCENARIO,
    cancelled_calls.SCENARIO,
    failovers.SCENARIO,
    hostile_source.SCENARIO,
    fidelity.SCENARIO,
    streams.SCENARIO,
]
