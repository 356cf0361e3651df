"""The figures of `/metrics`, in Prometheus' text format (docs/watch.md lists them)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from app.common.latency import ends
from app.cutover.moves.status import Cutover
from app.cutover.stages import Stage
from app.migration.runs.status import Status
from app.state.cutover.backlog import Waiting
from app.state.cutover.comparisons import MethodReport
from app.watch.facts import Facts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_RESULTS = ("equal", "different", "error", "skipped")
_PER_DOUBLING = 4  # buckets of ours in one of these
# What is told of a change stream: a field of it, and its metric.
_OF_STREAMS = (
    ("changes", "botdata_stream_changes_total", "counter", "Changes that a change stream has applied."),
    (
        "lag", "botdata_stream_lag_seconds", "gauge",
        "Seconds from a commit at the source to its own in the target, of the last batch.",
    ),
    ("held", "botdata_stream_held_bytes", "gauge", "Bytes of the log that is read that are kept for the slot."),
    ("to_come", "botdata_stream_behind_bytes", "gauge", "Bytes of it that are not applied yet."),
    (
        "look_age", "botdata_stream_look_age_seconds", "gauge",
        "Seconds since the sync that follows it last looked at the slot.",
    ),
)  # fmt: skip
Labels = Mapping[str, str]
Metric = tuple[str, str, str, Iterable[tuple[Labels, float]]]  # name, kind, help and samples


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
        runs = _of_runs(facts.status, facts) if facts.status else []
        for metric in [*runs, *(_of_cutover(facts.cutover) if facts.cutover else [])]:
            text.add(*metric)
        _add_comparisons(text, facts.compared.ever)
    return "\n".join(text.lines) + "\n"


def _of_runs(status: Status, facts: Facts) -> list[Metric]:
    tables = [({"table": one.table}, one) for one in status.tables]
    syncing = [({"table": one.table}, one) for one in facts.syncing]
    lags = [({"table": table}, seconds) for table, seconds in facts.synced.items()]
    streams = [({"stream": one.name}, one) for one in status.streams]
    slow = max((one.slowdown for one in status.paces), default=1.0)
    return [
        ("botdata_copy_rows", "gauge", "Rows of the newest copy.", [(name, one.rows) for name, one in tables]),
        ("botdata_copy_rows_left", "gauge", "Rows still to come.", [(name, one.left) for name, one in tables]),
        ("botdata_sync_rows", "gauge", "Rows of the sync at work.", [(name, one.rows) for name, one in syncing]),
        ("botdata_sync_rows_left", "gauge", "Rows still to come.", [(name, one.left) for name, one in syncing]),
        ("botdata_sync_lag_seconds", "gauge", "Since the last sync of a table began.", lags),
        *(
            (
                name,
                kind,
                what,
                [(label, number) for label, one in streams if (number := getattr(one, field)) is not None],
            )
            for field, name, kind, what in _OF_STREAMS
        ),
        ("botdata_quarantine_rows", "gauge", "Rows in quarantine.", [({}, status.in_quarantine)]),
        ("botdata_paused", "gauge", "Whether a pause was asked for.", [({}, status.pause is not None)]),
        ("botdata_source_slowdown", "gauge", "How many times as long as at first it takes.", [({}, slow)]),
        ("botdata_run_at_work", "gauge", "Whether a run is at work.", [({}, status.holder is not None)]),
    ]


def _of_waiting(name: str, what: str, waiting: Sequence[Waiting]) -> list[Metric]:
    tables = [({"table": one.table}, one) for one in waiting]
    oldest = max((one.oldest for one in waiting), default=0.0)
    return [
        (f"{name}_pending", "gauge", f"{what}.", [(label, one.count) for label, one in tables]),
        (f"{name}_failed", "gauge", f"{what} in error.", [(label, one.failed) for label, one in tables]),
        (f"{name}_oldest_seconds", "gauge", f"{what}: age of the oldest, 0 without any.", [({}, oldest)]),
    ]


def _of_cutover(found: Cutover) -> list[Metric]:
    stages = [({"stage": one.value}, one is found.row.stage) for one in Stage]
    processes = [({"process": one.name}, one) for one in found.processes]
    ages = [(name, one.age) for name, one in processes]
    reading = [(name, one.reads) for name, one in processes if one.reads]
    counts = [({**name, "by": "standby"}, one.by_standbys) for name, one in reading]
    counts += [({**name, "by": "primary"}, one.by_primary) for name, one in reading]
    standbys = [({**name, "standby": one.standby}, one) for name, reads in reading for one in reads.standbys]
    answering = [(label, one.state == "answers") for label, one in standbys]
    return [
        ("botdata_stage", "gauge", "1 for the stage of the cutover.", stages),
        *_of_waiting("botdata_journal", "Notes of the journal", found.notes),
        *_of_waiting("botdata_outbox", "Entries of the outbox", found.outbox),
        ("botdata_processes", "gauge", "Processes that count as running.", [({}, len(processes))]),
        ("botdata_process_heartbeat_age_seconds", "gauge", "Since a process last reported.", ages),
        *(
            (name, "gauge", what, [({}, number)] if number is not None else [])
            for name, what, number in (
                ("botdata_timeline", "The target's timeline; a failover raises it.", found.standbys.timeline),
                ("botdata_standbys", "Standbys that follow the target.", found.standbys.following),
                ("botdata_synchronous_standbys", "Those that a commit may wait for.", found.standbys.synchronous),
            )
        ),
        ("botdata_reads_total", "counter", "Reads of a process that may be answered by standbys.", counts),
        ("botdata_standby_answers", "gauge", "Whether a process asks it.", answering),
        *(
            (
                f"botdata_standby_{field}",
                "gauge",
                what,
                [(label, lag) for label, one in standbys if (lag := getattr(one, field)) is not None],
            )
            for field, what in (
                ("lag_bytes", "What it has not replayed."),
                ("lag_seconds", "Since the primary was there."),
            )
        ),
        ("botdata_troubles", "gauge", "What is not well, counted.", [({}, len(found.troubles))]),
    ]


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
