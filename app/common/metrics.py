"""What a data layer counts and times: a plain object that any code of the process may read."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.common.latency import Latencies
from app.common.telemetry import Telemetry
from app.cutover.stages import Store

_MOST_SERIES = 1000  # names of counters come from the program; this holds should a label not

OUTCOMES = ("equal", "different", "error", "skipped")  # of a comparison

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Latency:
    """Of some calls: how many, and the seconds within which half of them and 99 in 100 were done, to a tenth."""

    count: int
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the metrics at one moment.

    Attributes:
        counters: by name and labels, as `comparisons{method=get_company,outcome=equal}`; labels in alphabetical order.
        latencies: by store and method; store None: the whole call, as the caller saw it.
    """

    counters: Mapping[str, int]
    latencies: Mapping[tuple[Store | None, str], Latency]


class Metrics:
    """Counters and latencies since the start of the data layer. Kept in memory, whatever the stores do.

    Args:
        passed_on: gets all of it too; OpenTelemetry, where that is installed.
    """

    def __init__(self, passed_on: Telemetry | None = None) -> None:
        self._passed_on = passed_on
        self._counters: dict[tuple[str, Labels], int] = {}
        self._latencies: dict[tuple[Store | None, str], Latencies] = {}

    def count(self, name: str, amount: int = 1, /, **labels: str) -> None:
        """Add to a counter.

        Args:
            name: words joined by underscores, such as `mirrors`.
            labels: of few different values each; never anything from a row.
        """
        if self._passed_on is not None:
            self._passed_on.count(name, amount, labels)
        key = (name, tuple(sorted(labels.items())))
        if key in self._counters or len(self._counters) < _MOST_SERIES:
            self._counters[key] = self._counters.get(key, 0) + amount

    def observe(self, store: Store | None, method: str, seconds: float) -> None:
        """Time one call of a method; store None: the whole call, as the caller saw it."""
        if self._passed_on is not None:
            self._passed_on.observe(store, method, seconds)
        latencies = self._latencies.get((store, method))
        if latencies is None:
            if len(self._latencies) >= _MOST_SERIES:
                return
            latencies = self._latencies[store, method] = Latencies()
        latencies.add(seconds)

    def total(self, name: str, **labels: str) -> int:
        """The sum of the counters of this name that have these labels, and perhaps others."""
        wanted = labels.items()
        return sum(
            n for (known, has), n in list(self._counters.items()) if known == name and wanted <= dict(has).items()
        )

    def snapshot(self) -> Snapshot:
        """All of it, as it is now."""
        counters = {_shown(name, labels): n for (name, labels), n in sorted(self._counters.copy().items())}
        latencies = {
            key: Latency(one.count, one.quantile(0.5) or 0.0, one.quantile(0.99) or 0.0)
            for key, one in self._latencies.copy().items()
        }
        return Snapshot(counters, latencies)

    def summary(self) -> str:
        """All of it in a line, for a log."""
        calls, well = self.total("calls"), self.total("calls", outcome="ok")
        parts = [f"{calls:,} calls, {calls - well:,} of them answered with an error"]
        for store in Store:
            whole = Latencies()
            for (known, _), latencies in self._latencies.items():
                if known is store:
                    whole.merge(latencies.counts)
            p50, p99 = whole.quantile(0.5), whole.quantile(0.99)
            if p50 is not None and p99 is not None:
                parts.append(f"{store.label}: p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms")
        outcomes = [(name, self.total("comparisons", outcome=name)) for name in OUTCOMES]
        if any(number for _, number in outcomes):
            parts.append("comparisons: " + ", ".join(f"{number:,} {name}" for name, number in outcomes))
        return "; ".join(parts)


def _shown(name: str, labels: Labels) -> str:
    return f"{name}{{{','.join(f'{label}={value}' for label, value in labels)}}}" if labels else name
