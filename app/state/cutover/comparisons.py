"""Tables `comparisons` and `differences`: what every process counts of answers that it compares, and their report."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from app.cutover.stages import Stage, Store
from app.state.cutover.accepted_differences import TODAY
from app.state.fetching import Connection, fetch_each, fetch_rows
from app.state.schema_name import SCHEMA

# A row is a process's own, so that what it knows of a minute can be written again as a whole. The gate counts by the
# server's clock. That of a process's machine is put right by whole hours, so that each minute stays what it is.
_SAVE_COUNTS = f"""
INSERT INTO {SCHEMA}.comparisons (process, minute, stage, method, against_itself, calls, equal, different, error,
                                  skipped, causes, authority_latency, other_latency)
SELECT %(process)s, r.minute + make_interval(hours => CAST(round(extract(epoch FROM
        clock_timestamp() - CAST(%(now)s AS timestamptz)) / 3600) AS integer)),
    r.stage, r.method, r.against_itself, r.calls, r.equal, r.different, r.error, r.skipped,
    r.causes, r.authority_latency, r.other_latency
FROM json_to_recordset(CAST(%(rows)s AS json)) AS r (minute timestamptz, stage text,
    method text, against_itself boolean, calls bigint, equal bigint, different bigint, error bigint, skipped bigint,
    causes json, authority_latency bigint[], other_latency bigint[])
ON CONFLICT (process, minute, stage, method, against_itself) DO UPDATE SET calls = excluded.calls,
    equal = excluded.equal, different = excluded.different, error = excluded.error, skipped = excluded.skipped,
    causes = excluded.causes, authority_latency = excluded.authority_latency, other_latency = excluded.other_latency
"""
_SAVE_DIFFERENCES = f"""
INSERT INTO {SCHEMA}.differences AS d (stage, method, against_itself, cause, places, arguments, fields, count)
SELECT * FROM json_to_recordset(CAST(%(rows)s AS json)) AS r (stage text, method text, against_itself boolean,
    cause text, places text[], arguments text, fields json, count bigint)
ON CONFLICT (stage, method, against_itself, cause) DO UPDATE SET places = excluded.places,
    arguments = excluded.arguments, fields = excluded.fields, count = d.count + excluded.count,
    last_at = clock_timestamp()
"""
_SINCE = "clock_timestamp() - make_interval(secs => %(seconds)s)"
# Of a difference d: every place of it is accepted today, and was seen at the same stage before that. At another stage
# the other store may be the one that lacks a value.
_IS_ACCEPTED = f"""(d.places <> '{{}}' AND d.places <@ ARRAY(
    SELECT place FROM {SCHEMA}.accepted_differences a, unnest(a.places) place
    WHERE a.method = d.method AND a.until >= {TODAY} AND EXISTS (SELECT FROM {SCHEMA}.differences e
    WHERE e.stage = d.stage AND e.method = d.method AND place = ANY (e.places) AND NOT e.against_itself
    AND e.first_at <= a.accepted_at)))"""
# Of a line c of comparisons: how many of those that differed are accepted.
_ACCEPTED = f"""CASE c.different WHEN 0 THEN 0 ELSE coalesce((
    SELECT sum(e.value::bigint) FROM json_each_text(c.causes) e JOIN {SCHEMA}.differences d
    ON (d.stage, d.method, d.against_itself, d.cause) = (c.stage, c.method, c.against_itself, e.key)
    WHERE {_IS_ACCEPTED}), 0) END"""
_COUNTS = f"""
SELECT stage, method, against_itself, sum(calls)::bigint, sum(equal)::bigint, sum(different)::bigint,
    sum(error)::bigint, sum(skipped)::bigint, sum({_ACCEPTED})::bigint
FROM {SCHEMA}.comparisons c WHERE minute > {_SINCE} GROUP BY 1, 2, 3
"""
# Bucket by bucket, so that what comes over is as small for a year as for a minute.
_LATENCIES = f"""
SELECT stage, method, against_itself, is_authority, bucket, sum(n)::bigint FROM {SCHEMA}.comparisons,
LATERAL (SELECT true, u.* FROM unnest(authority_latency) WITH ORDINALITY u UNION ALL
         SELECT false, u.* FROM unnest(other_latency) WITH ORDINALITY u) l (is_authority, n, bucket)
WHERE minute > {_SINCE} AND n > 0 GROUP BY 1, 2, 3, 4, 5
"""


@dataclass(slots=True)
class MethodReport:
    """One method at one stage.

    Attributes:
        against_itself: the authority was compared with itself: noise, which no gate counts.
        authority, other: calls by bucket of their latency (app.common.latency), of the authority and of the store
            that it was compared with.
        accepted: of those that were different, how many the owner accepts today.
    """

    stage: Stage
    method: str
    against_itself: bool
    calls: int
    equal: int
    different: int
    error: int
    skipped: int
    authority: list[int] = field(default_factory=list)
    other: list[int] = field(default_factory=list)
    accepted: int = 0

    @property
    def by_store(self) -> dict[Store, list[int]]:
        """Calls by bucket of their latency, of each store."""
        own = self.stage.authority  # compared with itself, its calls are among those already
        return {own: self.authority, own.other: [] if self.against_itself else self.other}

    @property
    def compared(self) -> int:
        """Comparisons that came to an end."""
        return self.equal + self.different

    @property
    def compared_share(self) -> float | None:
        """Of the calls, how many were compared; None without calls."""
        return self.compared / self.calls if self.calls else None

    @property
    def different_share(self) -> float | None:
        """Of those that were compared, how many differed; None where none was."""
        return self.different / self.compared if self.compared else None


@dataclass(frozen=True, slots=True)
class DifferenceReport:
    """One cause: the fields that differ, and its last call. `count` is since `first_at`.

    Attributes:
        accepted: the owner accepts it today, so that no gate counts it.
    """

    stage: Stage
    method: str
    against_itself: bool
    cause: str
    arguments: str
    fields: list[dict[str, Any]]
    count: int
    first_at: datetime
    last_at: datetime
    accepted: bool


class ComparedMethod(NamedTuple):
    """How many answers of a method were compared, how many of them differed, and how many of these are accepted."""

    method: str
    compared: int
    different: int
    accepted: int


async def save_counts(connection: Connection, process: str, rows: str, now: datetime) -> None:
    """Write a process's counts of whole minutes anew.

    Args:
        rows: a JSON array of objects with the columns' names.
        now: by the clock that the minutes are of.
    """
    await connection.execute(_SAVE_COUNTS, {"process": process, "rows": rows, "now": now})


async def save_differences(connection: Connection, rows: str) -> None:
    """Add differences to those of their causes; `rows` is a JSON array of objects with the columns' names."""
    await connection.execute(_SAVE_DIFFERENCES, {"rows": rows})


async def prune(connection: Connection) -> None:
    """Delete what is too old to be asked for."""
    await connection.execute(f"DELETE FROM {SCHEMA}.comparisons WHERE minute < clock_timestamp() - interval '3 days'")
    await connection.execute(f"DELETE FROM {SCHEMA}.differences WHERE last_at < clock_timestamp() - interval '30 days'")


async def read_methods(connection: Connection, seconds: float) -> list[MethodReport]:
    """What was counted in the last `seconds`, by stage and name; noise last."""
    methods: dict[tuple[Any, ...], MethodReport] = {}
    given = {"seconds": seconds}
    for stage, *counts, accepted in await fetch_rows(connection, _COUNTS, given):
        report = methods[stage, counts[0], counts[1]] = MethodReport(Stage(stage), *counts)
        report.accepted = accepted
    for *key, is_authority, bucket, count in await fetch_rows(connection, _LATENCIES, given):
        if (method := methods.get(tuple(key))) is not None:  # a minute may have come in between
            buckets = method.authority if is_authority else method.other
            buckets.extend([0] * (bucket - len(buckets)))
            buckets[bucket - 1] += count
    order = list(Stage)
    return sorted(
        methods.values(), key=lambda report: (report.against_itself, order.index(report.stage), report.method)
    )


async def read_minutes(connection: Connection, seconds: float) -> list[tuple[str, datetime, MethodReport]]:
    """What each process counted in each minute of the last `seconds`, without noise: its name, the minute, a method."""
    rows = await fetch_rows(
        connection,
        "SELECT process, minute, stage, method, against_itself, calls, equal, different, error, skipped, "
        f"authority_latency, other_latency FROM {SCHEMA}.comparisons WHERE NOT against_itself AND minute > {_SINCE}",
        {"seconds": seconds},
    )
    return [(process, minute, MethodReport(Stage(stage), *rest)) for process, minute, stage, *rest in rows]


async def read_differences(connection: Connection, seconds: float, most: int) -> list[DifferenceReport]:
    """Differences of the last `seconds`, the most frequent first, so many at most; noise last."""
    rows = await fetch_rows(
        connection,
        "SELECT stage, method, against_itself, cause, arguments, fields, count, first_at, last_at, "
        f"{_IS_ACCEPTED} FROM {SCHEMA}.differences d WHERE last_at > {_SINCE} "
        "ORDER BY against_itself, count DESC, last_at DESC LIMIT %(most)s",
        {"seconds": seconds, "most": most},
    )
    return [DifferenceReport(Stage(row[0]), *row[1:]) for row in rows]


async def compared_methods(connection: Connection, stage: Stage, seconds: float) -> list[ComparedMethod]:
    """Each method in use at a stage in the last `seconds`, by its name."""
    return await fetch_each(
        connection,
        ComparedMethod,
        f"SELECT method, sum(equal + different)::bigint, sum(different)::bigint, sum({_ACCEPTED})::bigint "
        f"FROM {SCHEMA}.comparisons c WHERE stage = %(stage)s AND NOT against_itself AND minute > {_SINCE} "
        "GROUP BY method HAVING sum(calls) > 0 ORDER BY method",
        {"stage": stage, "seconds": seconds},
    )
