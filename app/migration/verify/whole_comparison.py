"""Comparing a table without a key, or a materialized view, by how often each row occurs on either side."""

from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic

from psycopg import AsyncConnection

from app.migration.runs.report import FoundDifference, TableVerified
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Progress
from app.migration.tables.copy_table import CopyTable
from app.migration.target.leftovers import LeftOut
from app.migration.verify.by_hash.hash_comparison import hash_both
from app.migration.verify.by_hash.hashes import HashedTable, Range
from app.migration.whole import Unpaired, contents, count_missing, pair, staged
from app.state.runs import quarantine
from app.state.runs.verifications import begin_verification


async def whole_hashes(connection: AsyncConnection, source: PostgresSource, table: CopyTable) -> tuple[Range, Range]:
    """The count of the rows and the sum of their hashes, at the source and in the target."""
    at_source, hashed = await HashedTable.of_both(source, table)
    theirs, ours = await hash_both(connection, source, at_source.whole(), hashed.whole())
    return theirs[0], ours[0]


@dataclass(frozen=True, slots=True)
class Found:
    """What a comparison found.

    Attributes:
        missing, extra: the contents' hashes of the first such rows, and how many there are of each.
        refused: the SQLSTATEs of the table's rows in quarantine, by their content's hash.
        quarantined: of the missing rows, how many are in quarantine.
    """

    counts: Unpaired
    missing: list[tuple[str, int]] = field(default_factory=list)
    extra: list[tuple[str, int]] = field(default_factory=list)
    refused: dict[str, list[str]] = field(default_factory=dict)
    quarantined: int = 0

    @property
    def differs(self) -> bool:
        """Whether a side has rows that the other has not."""
        return bool(self.counts.missing or self.counts.extra)


async def compare_whole(
    connection: AsyncConnection, source: PostgresSource, table: CopyTable, *, most: int = 10_000
) -> Found:
    """What one side has more of than the other: the rows come over only where the hashes differ.

    Args:
        most: contents that are listed.
    """
    theirs, ours = await whole_hashes(connection, source, table)
    if theirs == ours:
        return Found(Unpaired(theirs.rows, ours.rows))
    async with staged(connection, source, table) as staging:
        counts = await pair(connection, table, staging)
        refused = await _refused_contents(connection, table) if counts.missing else {}
        return Found(
            counts,
            await contents(connection, waiting=True, most=most),
            await contents(connection, waiting=False, most=most),
            refused,
            await count_missing(connection, {digest: len(states) for digest, states in refused.items()}),
        )


async def _refused_contents(connection: AsyncConnection, table: CopyTable) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if await quarantine.exists(connection):
        for key, sqlstate in (await quarantine.refused_keys(connection, table.name)).items():
            found.setdefault(key[0], []).append(sqlstate)
    return found


@dataclass(slots=True)
class WholeComparison:
    """A table that was compared, and is looked at again where it seems to differ: it may just be changing.

    Attributes:
        described: the table without columns that the target makes by itself.
        began_at: by the target's clock; None where what is found is not kept.
        fixed: rows that were brought again.
    """

    table: CopyTable
    described: CopyTable
    first: Found
    left_out: tuple[LeftOut, ...]
    seconds: float
    began_at: datetime | None
    fixed: int = 0

    @classmethod
    async def compare(
        cls,
        connection: AsyncConnection,
        source: PostgresSource,
        tables: tuple[CopyTable, CopyTable],
        left_out: tuple[LeftOut, ...],
        progress: Progress,
    ) -> "WholeComparison":
        """Compare all rows.

        Args:
            tables: as it is compared, and as it is written.
        """
        began = monotonic()
        began_at = await begin_verification(connection)
        progress.begin(tables[0].name, 0, 0)
        found = await compare_whole(connection, source, tables[0])
        progress.advance(tables[0].name, found.counts.source_rows)
        return cls(*tables, found, left_out, monotonic() - began, began_at)

    @property
    def differs(self) -> bool:
        """Whether it seemed to differ."""
        return self.first.differs

    async def verified(self, connection: AsyncConnection, source: PostgresSource, *, most: int) -> TableVerified:
        """What differs still.

        Args:
            most: differences that are kept one by one.
        """
        began = monotonic()
        last = await compare_whole(connection, source, self.table, most=most) if self.differs else self.first
        counts = last.counts
        listed = _differences(self.table, last.missing, "missing", last.refused, most=most)
        listed += _differences(self.table, last.extra, "extra", {}, most=most)
        went = self.first.counts.missing + self.first.counts.extra - counts.missing - counts.extra
        return TableVerified(
            table=self.table.name,
            source_rows=counts.source_rows,
            target_rows=counts.target_rows,
            equal=counts.source_rows - counts.missing,
            missing=counts.missing,
            extra=counts.extra,
            different=0,
            quarantined=last.quarantined,
            changed=0 if self.fixed else max(0, went),
            fixed=self.fixed,
            sampled=None,
            differences=tuple(listed[:most]),
            cut=counts.missing + counts.extra > min(most, len(listed)),
            seconds=self.seconds + monotonic() - began,
            left_out=self.left_out,
        )


def _differences(
    table: CopyTable, rows: list[tuple[str, int]], kind: str, refused: dict[str, list[str]], *, most: int
) -> list[FoundDifference]:
    found = []
    for digest, count in rows:
        states = refused.get(digest, [])
        found += [
            FoundDifference(
                kind, table.name, (digest,), False, refused=states[number] if number < len(states) else None
            )
            for number in range(min(count, most))
        ]
    return found
