"""Whether a copied table is complete: the sets of keys on both sides; what is missing is fetched by its key."""

from dataclasses import dataclass

from psycopg import AsyncConnection

from app.common.keys import Key
from app.migration.keys.key_listing import (
    KeyListing,
    causes,
    count_keys,
    count_target,
    extra_keys,
    figures,
    missing_keys,
    select_keys,
    source_keys,
)
from app.migration.load.loader import PageLoader
from app.migration.sources.moved_tables import known_count
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Source
from app.migration.tables.copy_table import CopyTable
from app.migration.verify.whole_comparison import compare_whole
from app.state.runs import quarantine


@dataclass(frozen=True, slots=True)
class Completeness:
    """What the comparison of the two sides found.

    Attributes:
        source_after: the source's exact count at the end, or how many keys it listed where it could not count.
        missing: keys that two looks at the source found, and that are in the target neither as a row nor refused.
        came: rows that the pages did not bring, since they came after them, and that were fetched by key.
        went: rows of the target whose keys the source no longer has.
        disagreement: in words, where the source's count, the rows seen and the target's count do not go together.
    """

    source_after: int
    missing: tuple[Key, ...]
    came: int
    went: int
    disagreement: str | None = None


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at the sets of keys.

    Attributes:
        arrived: rows that were missing, and were fetched.
        missing: keys that are in the target neither as a row nor refused.
        refused: keys of the source that are not in the target, and in quarantine.
        extra: rows of the target that the source does not have.
        held: rows of the target.
    """

    listing: KeyListing
    arrived: int
    missing: set[Key]
    refused: int
    extra: int
    held: int

    @property
    def agrees(self) -> bool:
        """Whether the source's count, the rows seen and the target's count go together."""
        expected = self.listing.keys - len(self.missing) - self.refused + self.extra
        return self.listing.whole and self.held == expected

    def disagreement(self, source: Source) -> str | None:
        """Why they do not, in words."""
        if self.agrees:
            return None
        aside = f" and {self.refused:,} are in quarantine" if self.refused else ""
        cause = (
            "rows of the target are hidden from this role, or a trigger or rule of it adds or keeps rows"
            if self.listing.whole
            else causes(self.listing, source)
        )
        return f"{figures(self.listing)}; the target holds {self.held:,}{aside}: {cause}"


async def complete_table(
    connection: AsyncConnection, source: Source, table: CopyTable, loader: PageLoader
) -> Completeness:
    """Compare the sides by key, and fetch what is missing: equal counts would hide one row gone and another come.

    A key still missing after its row was asked for has gone from the source meanwhile, or is lost; a second look at the
    source tells which. The same look tells whether counts that do not go together were a moment's.
    """
    source_after = await known_count(source, table)
    if source_after == await count_target(connection, table) == 0:
        return Completeness(0, (), 0, 0)
    look = await _look(connection, source, table, loader)
    if not look.missing and look.agrees:
        return Completeness(look.listing.keys if source_after is None else source_after, (), look.arrived, look.extra)
    again = await _look(connection, source, table, loader)
    lost = tuple(sorted(look.missing & again.missing))
    counted = await known_count(source, table)
    return Completeness(
        again.listing.keys if counted is None else counted,
        lost,
        look.arrived + again.arrived,
        again.extra,
        again.disagreement(source),
    )


async def complete_whole(connection: AsyncConnection, source: PostgresSource, table: CopyTable) -> Completeness:
    """The same for a table without a key: how often each row occurs on either side."""
    found = await compare_whole(connection, source, table)
    lost = found.counts.missing - found.quarantined
    keys = tuple((digest,) for digest, _ in found.missing if digest not in found.refused)[:lost]
    return Completeness(
        found.counts.source_rows,
        keys,
        0,
        found.counts.extra,
        f"{lost:,} rows did not arrive" if lost > len(keys) else None,
    )


async def _look(connection: AsyncConnection, source: Source, table: CopyTable, loader: PageLoader) -> _Look:
    """Take the source's keys and fetch the rows missing."""

    async def find_absent() -> tuple[set[Key], set[Key]]:
        """Keys that are not in the target: those that are not in quarantine either, and those that are."""
        absent = await select_keys(connection, missing_keys(table).as_string(connection))
        refused = set(await quarantine.refused_keys(connection, table.name)) if absent else set()
        return absent - refused, absent & refused

    async with source_keys(connection, source, table) as listing:
        missing, refused = await find_absent()
        still = missing
        if missing:
            async for page in source.rows_by_key(table, sorted(missing), listed=True):
                await loader.load(page, checkpoint=False)
            still, refused = await find_absent()
        extra = await count_keys(connection, extra_keys(table))
        held = await count_target(connection, table)
    return _Look(listing, len(missing - still), still, len(refused), extra, held)
