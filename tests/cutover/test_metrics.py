"""Counters and latencies: readable in the process, added up over processes, and passed on to OpenTelemetry."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator

import pytest
from opentelemetry import metrics as opentelemetry_metrics
from opentelemetry.metrics import _internal
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from app.common import telemetry as telemetry_module
from app.common.latency import Latencies
from app.common.metrics import Metrics
from app.common.telemetry import telemetry
from app.cutover.stages import Store
from app.data_layer import open_data_layer
from tests.fixtures.cutover import MakeSettings


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99, 1.0])
def test_a_quantile_is_right_to_a_tenth(share: float) -> None:
    chance = random.Random(7)
    seconds = sorted(10 ** chance.uniform(-4, 1) for _ in range(5000))
    latencies = Latencies()
    for one in seconds:
        latencies.add(one)
    assert latencies.quantile(share) == pytest.approx(seconds[max(0, int(share * 5000) - 1)], rel=0.1)
    assert latencies.count == 5000


def test_no_call_has_no_quantile_and_odd_times_are_taken() -> None:
    latencies = Latencies()
    assert latencies.quantile(0.5) is None
    for seconds in (0.0, -1.0, 1e9):
        latencies.add(seconds)
    assert (latencies.count, len(latencies.counts)) == (3, 96)


def test_latencies_of_two_processes_add_up() -> None:
    one, other, whole = Latencies(), Latencies(), Latencies()
    for seconds in (0.001, 0.002, 0.5):
        one.add(seconds)
        whole.add(seconds)
    for seconds in (0.004, 30.0):
        other.add(seconds)
        whole.add(seconds)
    one.merge(other.counts)
    assert one.counts == whole.counts


def test_counters_and_a_snapshot() -> None:
    metrics = Metrics()
    metrics.count("mirrors", outcome="done", table="clients")
    metrics.count("mirrors", 2, table="services", outcome="done")
    metrics.count("mirrors", outcome="failed", table="clients")
    metrics.count("notes")
    metrics.observe(Store.POSTGRES, "get_company", 0.010)
    assert metrics.total("mirrors") == 4
    assert metrics.total("mirrors", outcome="done") == 3
    assert metrics.total("mirrors", outcome="done", table="services") == 2
    shot = metrics.snapshot()
    metrics.count("notes")
    assert shot.counters == {
        "mirrors{outcome=done,table=clients}": 1,
        "mirrors{outcome=done,table=services}": 2,
        "mirrors{outcome=failed,table=clients}": 1,
        "notes": 1,
    }
    (latency,) = shot.latencies.values()
    assert (latency.count, latency.p50, latency.p99) == (1, *[pytest.approx(0.010, rel=0.1)] * 2)


def test_a_label_of_many_values_does_not_fill_the_memory() -> None:
    metrics = Metrics()
    for number in range(3000):
        metrics.count("calls", method=str(number))
        metrics.observe(None, str(number), 0.1)
    assert len(metrics.snapshot().counters) == len(metrics.snapshot().latencies) == 1000


async def test_a_data_layer_counts_its_calls(settings_of: MakeSettings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "app.data_layer.metrics")
    async with open_data_layer(settings_of()) as data:
        await data.get_company(1)
        await data.get_company("one")
        await data.upsert_company({"company_id": 1, "title": "Salon"})
        shot = data.metrics.snapshot()
        assert {name: n for name, n in shot.counters.items() if name.startswith("calls")} == {
            "calls{method=get_company,outcome=invalid_argument}": 1,
            "calls{method=get_company,outcome=ok}": 1,
            "calls{method=upsert_company,outcome=ok}": 1,
        }
        assert shot.latencies[None, "get_company"].count == 2
        assert shot.latencies[Store.SUPABASE, "get_company"].count == 1
        assert 0 < shot.latencies[Store.SUPABASE, "get_company"].p50 < 30
    lines = [record.getMessage() for record in caplog.records if record.name == "app.data_layer.metrics"]
    # Layers that other tests keep open in this process, of hundreds of calls, tell theirs every few minutes.
    (line,) = [line for line in lines if line.startswith("3 calls, ")]
    assert line.startswith("3 calls, 1 of them answered with an error; Supabase: p50 ")


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    """A provider with a reader, as a bot sets one up, for one test."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr(_internal, "_METER_PROVIDER", provider)
    assert opentelemetry_metrics.get_meter_provider() is provider
    yield reader
    provider.shutdown()


def test_opentelemetry_gets_all_of_it(reader: InMemoryMetricReader) -> None:
    metrics = Metrics(telemetry())
    metrics.count("comparisons", 2, method="get_company", outcome="equal")
    metrics.count("comparisons", method="get_company", outcome="equal")
    metrics.observe(Store.SUPABASE, "get_company", 0.25)
    metrics.observe(None, "get_company", 0.5)
    data = reader.get_metrics_data()
    assert data is not None
    found = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    (count,) = found["botdata.comparisons"].data.data_points
    assert (count.value, dict(count.attributes)) == (3, {"method": "get_company", "outcome": "equal"})
    points = {point.attributes["store"]: point for point in found["botdata.call.duration"].data.data_points}
    assert {store: (point.count, point.sum) for store, point in points.items()} == {
        "supabase": (1, 0.25),
        "all": (1, 0.5),
    }
    assert found["botdata.call.duration"].unit == "s"


def test_without_opentelemetry_there_is_nobody_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry_module, "find_spec", lambda _: None)
    assert telemetry() is None
