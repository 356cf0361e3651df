"""The data layer's counters and latencies as OpenTelemetry metrics, where that package is installed.

The bot sets up the provider and the exporter; without them the package's own defaults drop what they are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, Meter

_METER = "botdata"


class Telemetry:
    """Passes on what is counted and timed; instruments are `botdata.NAME` and `botdata.call.duration` in seconds."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._counters: dict[str, Counter] = {}
        self._durations: Histogram = meter.create_histogram(
            "botdata.call.duration", unit="s", description="seconds until a call was answered, by a store or in all"
        )

    def count(self, name: str, amount: int, labels: Mapping[str, str]) -> None:
        """Add to a counter."""
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = self._meter.create_counter(f"botdata.{name}")
        counter.add(amount, labels)

    def observe(self, store: str | None, method: str, seconds: float) -> None:
        """Time a call; store None: the whole of it, as the caller saw it."""
        self._durations.record(seconds, {"store": store or "all", "method": method})


def telemetry() -> Telemetry | None:
    """On the process's meter provider; None where OpenTelemetry is not installed."""
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.metrics") is None:
        return None
    from opentelemetry.metrics import get_meter

    return Telemetry(get_meter(_METER))
