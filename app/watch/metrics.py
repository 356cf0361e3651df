"""The figures of `/metrics`, in Prometheus' text format (docs/watch.md lists them)."""

from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate

from app.common.latency import ends
from app.cutover.stages import Stage
from app.state.cutover.comparisons import MethodReport
from app.watch.watcher import Facts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_RESULTS = ("equal", "different", "error", "skipped")
_PER_DOUBLING = 4  # buckets of ours in one of these
_OF_STREAMS = {
    "changes": "botdata_stream_changes_total",
    "lag": "botdata_stream_lag_seconds",
    "held": "botdata_stream_held_bytes",
    "to_come": "botdata_stream_behind_bytes",
    "look_age": "botdata_stream_look_age_seconds",
}
Labels = Mapping[str, str]


class _Text:
    """The lines, metric by metric; `masked` makes texts of the target fit to be shown."""

    def __init__(self, masked: Callable[[str], str]) -> None:
        self.lines: list[str] = []
        self.masked = masked

    def add(self, name: str, kind: str, help_text: str, samples: Iterable[tuple[Labels, float]]) -> None:
        """A metric and its samples; nothing where there are none."""
        found = [_line(name, {n: self.masked(t) for n, t in labels.items()}, value) for labels, value in samples]
        if found:
            self.head(name, kind, help_text)
            self.lines += found

    def head(self, name: str, kind: str, help_text: str) -> None:
        """What a metric is."""
        self.lines += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]


def metrics_text(facts: Facts, masked: Callable[[str], str]) -> str:
    """All of them, with masked labels; only `botdata_up` where the target cannot be read now."""
    text = _Text(masked)
    text.add("botdata_up", "gauge", "Whether the target can be read.", [({}, facts.trouble is None)])
    if facts.trouble is None:
        _add_runs(text, facts)
        _add_cutover(text, facts)
        _add_comparisons(text, facts.compared.ever)
    return "\n".join(text.lines) + "\n"


def _add_runs(text: _Text, facts: Facts) -> None:
    status = facts.status
    if status is None:
        return
    tables = [({"table": one.table}, one) for one in status.tables]
    text.add("botdata_copy_rows", "gauge", "Rows of the newest copy.", [(name, one.rows) for name, one in tables])
    text.add("botdata_copy_rows_left", "gauge", "Rows still to come.", [(name, one.left) for name, one in tables])
    syncing = [({"table": one.table}, one) for one in facts.syncing]
    text.add("botdata_sync_rows", "gauge", "Rows of the sync at work.", [(name, one.rows) for name, one in syncing])
    text.add("botdata_sync_rows_left", "gauge", "Rows still to come.", [(name, one.left) for name, one in syncing])
    lags = [({"table": table}, seconds) for table, seconds in facts.synced.items()]
    text.add("botdata_sync_lag_seconds", "gauge", "Since the last sync of a table began.", lags)
    streams = [({"stream": one.name}, one) for one in status.streams]
    for name, kind, what in (
        ("changes", "counter", "Changes that a change stream has applied."),
        ("lag", "gauge", "Seconds from a commit at the source to its own in the target, of the last batch."),
        ("held", "gauge", "Bytes of the log that is read that are kept for the slot."),
        ("to_come", "gauge", "Bytes of it that are not applied yet."),
        ("look_age", "gauge", "Seconds since the sync that follows it last looked at the slot."),
    ):
        samples = [(label, getattr(one, name)) for label, one in streams if getattr(one, name) is not None]
        text.add(_OF_STREAMS[name], kind, what, samples)
    text.add("botdata_quarantine_rows", "gauge", "Rows in quarantine.", [({}, status.in_quarantine)])
    text.add("botdata_paused", "gauge", "Whether a pause was asked for.", [({}, status.pause is not None)])
    slow = max((one.slowdown for one in status.paces), default=1.0)
    text.add("botdata_source_slowdown", "gauge", "How many times as long as at first it takes.", [({}, slow)])
    text.add("botdata_run_at_work", "gauge", "Whether a run is at work.", [({}, status.holder is not None)])


def _add_cutover(text: _Text, facts: Facts) -> None:
    found = facts.cutover
    if found is None:
        return
    stages = [({"stage": one.value}, one is found.row.stage) for one in Stage]
    text.add("botdata_stage", "gauge", "1 for the stage of the cutover.", stages)
    for name, what, waiting in (
        ("botdata_journal", "Notes of the journal", found.notes),
        ("botdata_outbox", "Entries of the outbox", found.outbox),
    ):
        tables = [({"table": one.table}, one) for one in waiting]
        text.add(f"{name}_pending", "gauge", f"{what}.", [(label, one.count) for label, one in tables])
        text.add(f"{name}_failed", "gauge", f"{what} in error.", [(label, one.failed) for label, one in tables])
        oldest = max((one.oldest for one in waiting), default=0.0)
        text.add(f"{name}_oldest_seconds", "gauge", f"{what}: age of the oldest, 0 without any.", [({}, oldest)])
    processes = [({"process": one.name}, one) for one in found.processes]
    text.add("botdata_processes", "gauge", "Processes that count as running.", [({}, len(processes))])
    ages = [(name, one.age) for name, one in processes]
    text.add("botdata_process_heartbeat_age_seconds", "gauge", "Since a process last reported.", ages)
    for name, what, number in (
        ("botdata_timeline", "The target's timeline; a failover raises it.", found.standbys.timeline),
        ("botdata_standbys", "Standbys that follow the target.", found.standbys.following),
        ("botdata_synchronous_standbys", "Those that a commit may wait for.", found.standbys.synchronous),
    ):
        text.add(name, "gauge", what, [({}, number)] if number is not None else [])
    reading = [({"process": one.name}, one.reads) for one in found.processes if one.reads]
    counts = [({**name, "by": "standby"}, one.by_standbys) for name, one in reading]
    counts += [({**name, "by": "primary"}, one.by_primary) for name, one in reading]
    text.add("botdata_reads_total", "counter", "Reads of a process that may be answered by standbys.", counts)
    standbys = [({**name, "standby": one.standby}, one) for name, reads in reading for one in reads.standbys]
    text.add(
        "botdata_standby_answers",
        "gauge",
        "Whether a process asks it.",
        [(label, one.state == "answers") for label, one in standbys],
    )
    for name, what in (("lag_bytes", "What it has not replayed."), ("lag_seconds", "Since the primary was there.")):
        lags = [(label, getattr(one, name)) for label, one in standbys if getattr(one, name) is not None]
        text.add(f"botdata_standby_{name}", "gauge", what, lags)
    text.add("botdata_troubles", "gauge", "What is not well, counted.", [({}, len(found.troubles))])


def _add_comparisons(text: _Text, methods: list[MethodReport]) -> None:
    counts: dict[tuple[str, str], int] = {}
    calls: dict[tuple[str, str], list[int]] = {}
    for method in methods:  # of one name there are as many as stages
        for result in _RESULTS:
            key = (method.method, result)
            counts[key] = counts.get(key, 0) + getattr(method, result)
        for store, buckets in method.by_store.items():
            whole = calls.setdefault((store.value, method.method), [0] * len(ends()))
            for place, count in enumerate(buckets):
                whole[place] += count
    compared = [({"method": method, "result": result}, count) for (method, result), count in counts.items()]
    text.add("botdata_comparisons_total", "counter", "Answers compared, by what came of it.", compared)
    if calls:
        text.head("botdata_call_seconds", "histogram", "How long a store took; the sum is an estimate by bucket.")
    for (of_store, name), buckets in calls.items():
        _add_histogram(text, {"store": of_store, "method": text.masked(name)}, buckets)


def _add_histogram(text: _Text, labels: Labels, buckets: list[int]) -> None:
    seconds = ends()
    up_to = list(accumulate(buckets))
    for place in range(_PER_DOUBLING - 1, len(seconds) - 1, _PER_DOUBLING):  # the last one has no end
        text.lines.append(_line("botdata_call_seconds_bucket", {**labels, "le": f"{seconds[place]:.6g}"}, up_to[place]))
    text.lines.append(_line("botdata_call_seconds_bucket", {**labels, "le": "+Inf"}, up_to[-1]))
    estimate = sum(count * end for count, end in zip(buckets, seconds, strict=True))
    text.lines.append(_line("botdata_call_seconds_sum", labels, round(estimate, 6)))
    text.lines.append(_line("botdata_call_seconds_count", labels, up_to[-1]))


def _line(name: str, labels: Labels, value: float) -> str:
    shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    number = int(value) if float(value).is_integer() else round(value, 6)
    return f"{name}{{{shown}}} {number}" if shown else f"{name} {number}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
