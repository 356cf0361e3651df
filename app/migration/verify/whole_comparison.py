"""Comparing a table without a key, or a materialized view, by how often each row occurs on either side."""

from collections import Counter
from dataclasses import dataclass, replace
from time import monotonic

from psycopg import AsyncConnection

from app.migration.progress import Progress
from app.migration.runs.report import FoundDifference, TableVerified
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.tables.copy_table import CopyTable
from app.migration.target.leftovers import LeftOut
from app.migration.verify import hashes
from app.migration.verify.hash_comparison import hash_both
from app.migration.verify.hashes import HashedTable, Range
from app.migration.whole.pairs import Unpaired, pair, staged
from app.state.runs import quarantine


async def whole_hashes(connection: AsyncConnection, source: PostgresSource, table: CopyTable) -> tuple[Range, Range]:
    """The count of the rows and the sum of their hashes, at the source and in the target."""
    hashed = HashedTable.of(table, dict(await source.fetch(hashes.column_types(table))))
    at_source = replace(hashed, table=await source.own(table))
    theirs, ours = await hash_both(connection, source, at_source.whole(), hashed.whole())
    return theirs[0], ours[0]


async def compare_whole(connection: AsyncConnection, source: PostgresSource, table: CopyTable) -> Unpaired:
    """What one side has more of than the other: the rows come over only where the hashes differ."""
    theirs, ours = await whole_hashes(connection, source, table)
    if theirs == ours:
        return Unpaired(theirs.rows, ours.rows)
    async with staged(connection, source, table) as staging:
        return await pair(connection, table, staging)


async def refused_contents(connection: AsyncConnection, table: CopyTable) -> dict[str, list[str]]:
    """The SQLSTATEs of the table's rows in quarantine, by their content's hash."""
    found: dict[str, list[str]] = {}
    for key, sqlstate in (await quarantine.refused_keys(connection, table.name)).items():
        found.setdefault(key[0], []).append(sqlstate)
    return found


@dataclass(slots=True)
class WholeComparison:
    """A table that was compared, and is looked at again where it seems to differ: it may just be changing.

    Attributes:
        described: the table without columns that the target makes by itself.
        fixed: rows that were brought again.
    """

    table: CopyTable
    described: CopyTable
    first: Unpaired
    left_out: tuple[LeftOut, ...]
    seconds: float
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
        progress.begin(tables[0].name, 0, 0)
        found = await compare_whole(connection, source, tables[0])
        progress.advance(tables[0].name, found.source_rows)
        return cls(*tables, found, left_out, monotonic() - began)

    @property
    def differs(self) -> bool:
        """Whether it seemed to differ."""
        return bool(self.first.missing or self.first.extra)

    async def verified(self, connection: AsyncConnection, source: PostgresSource, *, most: int) -> TableVerified:
        """What differs still.

        Args:
            most: differences that are kept one by one.
        """
        began = monotonic()
        last = await compare_whole(connection, source, self.table) if self.differs else self.first
        refused = await refused_contents(connection, self.table) if last.missing else {}
        missing, extra = last.missing.total(), last.extra.total()
        listed = _differences(self.table, last.missing, "missing", refused)
        listed += _differences(self.table, last.extra, "extra", {})
        went = self.first.missing.total() + self.first.extra.total() - missing - extra
        return TableVerified(
            table=self.table.name,
            source_rows=last.source_rows,
            target_rows=last.target_rows,
            equal=last.source_rows - missing,
            missing=missing,
            extra=extra,
            different=0,
            quarantined=sum(one.refused is not None for one in listed),
            changed=0 if self.fixed else max(0, went),
            fixed=self.fixed,
            sampled=None,
            differences=tuple(listed[:most]),
            cut=len(listed) > most,
            seconds=self.seconds + monotonic() - began,
            left_out=self.left_out,
        )


def _differences(
    table: CopyTable, rows: Counter[str], kind: str, refused: dict[str, list[str]]
) -> list[FoundDifference]:
    found = []
    for digest, count in sorted(rows.items()):
        states = refused.get(digest, [])
        found += [
            FoundDifference(
                kind, table.name, (digest,), False, refused=states[number] if number < len(states) else None
            )
            for number in range(count)
        ]
    return found
