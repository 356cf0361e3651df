"""Holding a report against the rows as they are now: which tables are unchanged, and where the others changed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from psycopg import AsyncConnection
from pydantic import BaseModel, ValidationError
from sqlalchemy import Table

from app.errors import INSTALL_NEWER, AccessDeniedError, MigrationError, StoreError, UnavailableError
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.rest.text_settings import require_readable_texts
from app.migration.sources.source import Progress, Source
from app.migration.tables.copy_table import CopyTable
from app.migration.tables.described_table import describe
from app.migration.target.target_session import explained, open_target
from app.next_step import NextStep
from app.report.facts import KIND, VERSION
from app.report.hashing import digest_source, digest_target, with_columns
from app.state.digests import BUCKETS, Bucket, KeptDigest, Side, key_name

STEP = "report"
Verdict = Literal["unchanged", "changed", "not checkable"]
_EMBEDDED = re.compile(r'<script type="application/json" id="botdata-report">(.*?)</script>', re.DOTALL)


class _Digest(BaseModel):
    columns: list[str]
    rows: int
    buckets: list[tuple[int, int, str]]

    @property
    def read(self) -> dict[int, Bucket]:
        return {number: Bucket(rows, int(total, 16)) for number, rows, total in self.buckets}


class _Table(BaseModel):
    table: str
    source: _Digest | None
    target: _Digest | None


class _Hashes(BaseModel):
    key: str
    buckets: int


class _Kind(BaseModel):
    kind: str
    version: int


class EarlierReport(_Kind):
    """Of a report what a check needs."""

    made_at: str
    hashes: _Hashes
    tables: list[_Table]


@dataclass(frozen=True, slots=True)
class BucketChange:
    """A bucket whose rows are not those of the report."""

    bucket: int
    rows_then: int
    rows_now: int


@dataclass(frozen=True, slots=True)
class SideChecked:
    """A side of a table.

    Attributes:
        rows_now: None: not checkable.
        why: what made it not checkable, or changed it beside its rows.
    """

    verdict: Verdict
    rows_then: int
    rows_now: int | None = None
    buckets: tuple[BucketChange, ...] = ()
    why: str | None = None


@dataclass(frozen=True, slots=True)
class TableChecked:
    """A table; a side is None where the report has no hash of it, or it was not to be checked."""

    table: str
    source: SideChecked | None
    target: SideChecked | None

    @property
    def verdict(self) -> Verdict:
        """The worst of both sides; a table without a hash is not checkable."""
        sides = {side.verdict for side in (self.source, self.target) if side is not None}
        if "changed" in sides:
            return "changed"
        return "unchanged" if sides == {"unchanged"} else "not checkable"


@dataclass(frozen=True, slots=True)
class ReportChecked:
    """A report against now. `made_at`: when it was made (ISO 8601, in UTC)."""

    made_at: str
    tables: tuple[TableChecked, ...]

    @property
    def unchanged(self) -> bool:
        """Whether all of it is; of a report without tables nothing is."""
        return bool(self.tables) and all(table.verdict == "unchanged" for table in self.tables)


def read_report(file: Path) -> EarlierReport:
    """A report from its page or its document.

    Raises:
        OSError: the file cannot be read.
        MigrationError: it is no report, or a newer one than this program knows.
    """
    text = file.read_bytes().decode("utf-8", errors="replace")
    found = _EMBEDDED.search(text)
    written = found[1] if found else text
    try:
        if (kind := _Kind.model_validate_json(written)).kind != KIND:
            raise _refused(f"{file} is not a report of botdata")
        if kind.version > VERSION:
            raise _refused(f"{file} was made by a newer botdata", NextStep(INSTALL_NEWER))
        report = EarlierReport.model_validate_json(written)
        if report.hashes.buckets != BUCKETS:
            raise _refused(f"{file} was made by another botdata, which hashed in {report.hashes.buckets} buckets")
        for table in report.tables:
            for side in (table.source, table.target):
                _ = side and side.read
    except (ValidationError, ValueError) as error:
        raise _refused(f"{file} is not a report of botdata, or not a whole one") from error
    return report


def _refused(message: str, next_step: NextStep | None = None) -> MigrationError:
    again = NextStep("botdata report, which writes one that can be checked")
    return MigrationError(message, step=STEP, pending="everything; nothing was compared", next_step=next_step or again)


async def check_report(
    target_url: str,
    source: Source | str | None,
    models: Mapping[str, Table],
    report: EarlierReport,
    progress: Progress,
) -> ReportChecked:
    """Hash the report's tables anew, and compare. Writes nothing.

    Args:
        source: why it cannot be read, where it cannot; None: it is not to be checked.
        models: all tables that are known, by name.

    Raises:
        MigrationError: the target cannot be read, or is not the report's.
    """
    async with open_target(target_url, step=STEP) as connection:
        with explained(STEP, pending="everything; nothing was compared"):
            if await key_name(connection) != report.hashes.key:
                raise _refused(
                    "the report is of another target: this one has not the key of its hashes, which is kept in schema "
                    "botdata and goes with it"
                )
        check = _Check(connection, source, progress)
        checked = []
        for table in report.tables:
            with explained(STEP, table=table.table, pending="the rest of the tables"):
                checked.append(await check.table(table, models.get(table.table)))
    return ReportChecked(report.made_at, tuple(checked))


class _Check:
    """Hashes one table after the other; a source that was lost once is not asked again."""

    def __init__(self, connection: AsyncConnection, source: Source | str | None, progress: Progress) -> None:
        self._connection = connection
        self._source = source
        self._progress = progress

    async def table(self, then: _Table, model: Table | None) -> TableChecked:
        """Both sides of a table."""
        described: CopyTable | str = "the models have no such table"
        if model is not None:
            try:
                described = await describe(self._connection, model, step=STEP, reads=True)
            except MigrationError as error:
                described = error.message
        theirs = ours = None
        rows = sum(side.rows for side in (then.source, then.target) if side is not None)
        self._progress.begin(then.table, rows, 0)
        if then.source is not None and self._source is not None:
            theirs = await self._side(then.source, described, "source")
        if then.target is not None:
            ours = await self._side(then.target, described, "target")
        return TableChecked(then.table, theirs, ours)

    async def _side(self, then: _Digest, table: CopyTable | str, side: Side) -> SideChecked:
        if isinstance(table, str):
            return SideChecked("not checkable", then.rows, why=table)
        if gone := sorted(set(then.columns) - set(table.with_made.names)):
            return SideChecked("changed", then.rows, why=f"without the columns {', '.join(gone)}")
        chosen = with_columns(table, then.columns)
        if side == "target":
            return _compare(then, await digest_target(self._connection, chosen, None, self._progress))
        assert self._source is not None
        if isinstance(self._source, str):
            return SideChecked("not checkable", then.rows, why=self._source)
        try:
            if isinstance(self._source, RestSource):
                await require_readable_texts(self._source, [chosen], self._progress.notice, step=STEP)
            return _compare(then, await digest_source(self._connection, self._source, chosen, self._progress))
        except (StoreError, MigrationError) as error:
            why = f"the source ({self._source.setting}): {error}"
            if isinstance(error, UnavailableError | AccessDeniedError):
                self._source = why
            return SideChecked("not checkable", then.rows, why=why)


def _compare(then: _Digest, now: KeptDigest) -> SideChecked:
    before, nothing = then.read, Bucket(0, 0)
    buckets = tuple(
        BucketChange(number, before.get(number, nothing).rows, now.buckets.get(number, nothing).rows)
        for number in sorted(before.keys() | now.buckets.keys())
        if before.get(number) != now.buckets.get(number)
    )
    other_key = "its key has other columns" if list(now.columns) != then.columns else None
    return SideChecked("changed" if buckets or other_key else "unchanged", then.rows, now.rows, buckets, other_key)
