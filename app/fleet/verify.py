"""`botdata fleet verify`: each salon's rows compared with those of its own source."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.cutover.stages import Stage
from app.fleet.choosing import address_of
from app.fleet.outcome import Outcome, SalonResult, away
from app.fleet.sources import SalonSource
from app.migration.preflight.opening import open_source
from app.migration.retry import Limits
from app.migration.runs.kept_work import kept_pace
from app.migration.runs.report import VerifyReport
from app.migration.sources.pace import MaxRate, Pace
from app.migration.tables.copy_table import name_of
from app.migration.target.foreign_keys import unproved_keys
from app.migration.target.materialized_views import views_of
from app.migration.target.target_session import explained
from app.migration.verify.options import VerifyOptions
from app.migration.verify.verifier import verify
from app.next_step import Command, NextStep
from app.state.fleet.salons import Salon, read_standing
from app.state.runs.verifications import equal_since
from app.state.tool_schema import may_read
from app.stores.postgres.database_url import source_label

STEP = "fleet verify"
_AGAIN = NextStep(Command("verify"), ", with the salon's source, shows the rows")


@dataclass(frozen=True, slots=True)
class _Quiet:
    """The progress of one among several: only what is worth a line."""

    salon: str
    tell: Callable[[str], None]

    def begin(self, table: str, total: int, done: int) -> None:
        """Not told."""

    def advance(self, table: str, rows: int) -> None:
        """Not told."""

    def notice(self, message: str) -> None:
        """Told with the salon's name."""
        self.tell(f"{self.salon}: {message}")


@dataclass(frozen=True, slots=True)
class Verifications:
    """The work on each of them.

    Attributes:
        url: of the database.
        sources: by the salon's name.
        since: a salon that was verified equal to the same source since then is passed over.
        max_rate: how much is read of each source.
        notice: told what is worth a line.
    """

    url: str
    sources: Mapping[str, SalonSource]
    tables: Sequence[Table]
    since: datetime | None
    max_rate: MaxRate | None
    notice: Callable[[str], None]

    async def compare(self, connection: AsyncConnection, salon: Salon) -> Outcome:
        """One salon.

        Raises:
            MigrationError: one of its two sides cannot be read.
        """
        standing = await read_standing(connection, salon)
        if (gone := away(salon.name, standing)) is not None:
            return gone
        source = self.sources.get(salon.name)
        if source is None:
            if standing.stage == Stage.COMPLETE:
                why = "it stands at complete, and the file names no source for it: nothing to compare with"
                return Outcome(salon.name, SalonResult.NOT_COMPARED, standing, why)
            why, then = "the file names no source for it", NextStep("add it to the file, then: ", Command(STEP))
            return Outcome(salon.name, SalonResult.NO_SOURCE, standing, why, then)
        target = address_of(self.url, salon.name)
        if source.label == source_label(target):
            then = NextStep("correct it in the file, then: ", Command(STEP))
            return Outcome(
                salon.name, SalonResult.NO_SOURCE, standing, "the file names the salon as its own source", then
            )
        if self.since is not None and await self._is_equal_since(connection, source.label, self.since):
            why = f"all tables, since {self.since:%Y-%m-%dT%H:%M:%SZ}"
            return Outcome(salon.name, SalonResult.EQUAL_SINCE, standing, why)
        progress, pace = _Quiet(salon.name, self.notice), Pace(self.max_rate)
        pace.tell = progress.notice
        async with kept_pace(pace, target, "verify", progress.notice), AsyncExitStack() as opened:
            with explained("verify", setting="--sources", pending="everything; nothing was compared"):
                place = source.opened_by("verify")
                opening = open_source(place, Limits(), progress.notice, step="verify", pace=pace)
                rows = await opened.enter_async_context(opening)
            report = await verify(rows, target, self.tables, progress, VerifyOptions())
        if report.clean:
            return Outcome(salon.name, SalonResult.EQUAL, standing, f"{_rows(report):,} rows")
        return Outcome(salon.name, SalonResult.DIFFERS, standing, "; ".join(_differing(report)), _AGAIN)

    async def _is_equal_since(self, connection: AsyncConnection, source: str, since: datetime) -> bool:
        names = [name_of(table) for table in self.tables]
        return (
            await may_read(connection, "verifications")
            and await equal_since(connection, source, names, since)
            and not await unproved_keys(connection)
            and not await views_of(connection, self.tables)  # whether they are stale, a verify alone says
        )


def _rows(report: VerifyReport) -> int:
    return sum(table.source_rows for table in report.tables)


def _differing(report: VerifyReport) -> list[str]:
    said = [
        f"{table.table}: {table.missing:,} missing, {table.extra:,} extra, {table.different:,} different"
        + ("; counts differ" if table.counts_differ else "")
        for table in report.tables
        if not table.clean
    ]
    said += [f"{one.table} cannot be compared: {one.why}" for one in report.not_moved]
    said += [f"{one.name}: {one.why}" for one in report.not_usable]
    said += [f"foreign key {name} is not proved" for name in report.unproved]
    return said
