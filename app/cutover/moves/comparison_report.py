"""What the bot's processes kept of their comparisons, as the command `cutover report` reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from app.cutover.moves.stage_row import open_cutover
from app.cutover.stages import Stage

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from app.settings import Settings

_STEP = "cutover report"
_SINCE = "clock_timestamp() - make_interval(secs => %(seconds)s)"
_COUNTS = f"""
SELECT stage, method, against_itself, sum(calls)::bigint, sum(equal)::bigint, sum(different)::bigint,
    sum(error)::bigint, sum(skipped)::bigint
FROM botdata.comparisons WHERE minute > {_SINCE} GROUP BY 1, 2, 3
"""  # noqa: S608 - of constants
# Bucket by bucket, so that what comes over is as small for a year as for a minute.
_LATENCIES = f"""
SELECT stage, method, against_itself, is_authority, bucket, sum(n)::bigint FROM botdata.comparisons,
LATERAL (SELECT true, u.* FROM unnest(authority_latency) WITH ORDINALITY u UNION ALL
         SELECT false, u.* FROM unnest(other_latency) WITH ORDINALITY u) l (is_authority, n, bucket)
WHERE minute > {_SINCE} AND n > 0 GROUP BY 1, 2, 3, 4, 5
"""  # noqa: S608
_DIFFERENCES = f"""
SELECT stage, method, against_itself, cause, arguments, fields, count, first_at, last_at FROM botdata.differences
WHERE last_at > {_SINCE} ORDER BY against_itself, count DESC, last_at DESC LIMIT %(most)s
"""  # noqa: S608


@dataclass(slots=True)
class MethodReport:
    """One method at one stage.

    Attributes:
        against_itself: the authority was compared with itself: noise, which no gate counts.
        authority, other: calls by bucket of their latency (app.common.latency), of the authority and of the store
            that it was compared with.
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
    """One cause: the fields that differ, and its last call. `count` is since `first_at`."""

    stage: Stage
    method: str
    against_itself: bool
    cause: str
    arguments: str
    fields: list[dict[str, Any]]
    count: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """Both, of the last `hours`; methods by stage and name, differences with the most frequent first."""

    hours: float
    methods: list[MethodReport]
    differences: list[DifferenceReport]


async def comparison_report(settings: Settings, *, hours: float, most: int) -> ComparisonReport:
    """Read what was kept.

    Args:
        hours: how far back.
        most: differences at most.

    Raises:
        MigrationError: the target cannot be reached, or has no such tables.
    """
    async with open_cutover(settings.require_database_url(), _STEP, pending="it changes nothing") as connection:
        parameters = {"seconds": hours * 3600, "most": most}
        methods = await _methods(connection, parameters)
        rows = await (await connection.execute(_DIFFERENCES.encode(), parameters)).fetchall()
    return ComparisonReport(hours, methods, [DifferenceReport(Stage(row[0]), *row[1:]) for row in rows])


async def _methods(connection: AsyncConnection, parameters: dict[str, Any]) -> list[MethodReport]:
    found: dict[tuple[Any, ...], MethodReport] = {}
    for stage, *rest in await (await connection.execute(_COUNTS.encode(), parameters)).fetchall():
        found[stage, rest[0], rest[1]] = MethodReport(Stage(stage), *rest)
    for *key, is_authority, bucket, count in await (
        await connection.execute(_LATENCIES.encode(), parameters)
    ).fetchall():
        if (method := found.get(tuple(key))) is not None:  # a minute may have come in between
            counts = method.authority if is_authority else method.other
            counts.extend([0] * (bucket - len(counts)))
            counts[bucket - 1] += count
    order = list(Stage)
    return sorted(found.values(), key=lambda one: (one.against_itself, order.index(one.stage), one.method))
