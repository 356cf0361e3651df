"""Comparing what has no key: a table by how often each row occurs, and materialized views, which each side makes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

import psycopg
from psycopg import AsyncConnection, sql

from app.common.driver_errors import missing_right
from app.errors import AccessDeniedError, CountTimeoutError, SchemaMismatchError, StoreError, error_for_sqlstate
from app.migration.runs.report import FoundDifference, TableVerified, ViewCompared
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Source
from app.migration.tables.copy_table import CopyColumn, CopyTable
from app.migration.target.leftovers import LeftOut
from app.migration.target.materialized_views import MaterializedView, dependent_views
from app.migration.target.sequences import raise_sequences
from app.migration.verify.hash_comparison import HashedTable, Range, hash_both
from app.migration.verify.options import Verification
from app.migration.whole import Unpaired, bring_whole, contents, count_missing, pair, staged
from app.state.fetching import fetch_row, fetch_rows, fetch_value
from app.state.runs import quarantine


async def whole_hashes(connection: AsyncConnection, source: PostgresSource, table: CopyTable) -> tuple[Range, Range]:
    """The count of the rows and the sum of their hashes, at the source and in the target."""
    at_source, hashed = await HashedTable.of_both(source, table)
    theirs, ours = await hash_both(connection, source, at_source.whole(), hashed.whole())
    return theirs[0], ours[0]


@dataclass(frozen=True, slots=True)
class WholeFound:
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
) -> WholeFound:
    """What one side has more of than the other: the rows come over only where the hashes differ.

    Args:
        most: contents that are listed.
    """
    theirs, ours = await whole_hashes(connection, source, table)
    if theirs == ours:
        return WholeFound(Unpaired(theirs.rows, ours.rows))
    async with staged(connection, source, table):
        counts = await pair(connection, table)
        refused = await _refused_contents(connection, table) if counts.missing else {}
        return WholeFound(
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


@dataclass(frozen=True, slots=True)
class WholeComparison:
    """A table that was compared, and is looked at again where it seems to differ: it may just be changing.

    Attributes:
        described: the table without columns that the target makes by itself.
    """

    table: CopyTable
    described: CopyTable
    first: WholeFound
    left_out: tuple[LeftOut, ...]
    seconds: float

    @classmethod
    async def compare(
        cls, work: Verification, table: CopyTable, described: CopyTable, left_out: tuple[LeftOut, ...]
    ) -> "WholeComparison":
        """Compare all rows.

        Args:
            table: as it is compared; described: as it is written.
        """
        assert isinstance(work.source, PostgresSource)  # over REST such a table is not moved
        began = monotonic()
        work.progress.begin(table.name, 0, 0)
        found = await compare_whole(work.connection, work.source, table)
        work.progress.advance(table.name, found.counts.source_rows)
        return cls(table, described, found, left_out, monotonic() - began)

    async def verified(self, work: Verification) -> TableVerified:
        """What differs still, once a fix has brought it."""
        connection, source, options = work.connection, work.source, work.options
        assert isinstance(source, PostgresSource)
        fixed, last = 0, self.first
        if work.run is not None and self.first.differs:
            most = options.most_refused
            done = await bring_whole(connection, source, self.described, work.run, options.permit, most_refused=most)
            fixed = done.loaded.inserted + done.loaded.updated
            await raise_sequences(connection, self.described)
        began, most = monotonic(), options.most_differences
        if self.first.differs:
            last = await compare_whole(connection, source, self.table, most=most)
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
            changed=0 if fixed else max(0, went),
            fixed=fixed,
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


_COLUMNS = """
SELECT attname, format_type(atttypid, -1) FROM pg_attribute
WHERE attrelid = to_regclass({}) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_THERE = "SELECT relispopulated FROM pg_class WHERE oid = to_regclass({}) AND relkind IN ('m', 'v', 'r', 'p', 'f')"
_DEFINITION = "SELECT rtrim(pg_get_viewdef(to_regclass(%s)), '; ')"
_NOT_POPULATED = "55000"


async def compare_views(
    connection: AsyncConnection, source: Source, tables: Sequence[CopyTable]
) -> tuple[ViewCompared, ...]:
    """Compare those that are made of the tables and hold rows: over a connection by their rows, else by their count.

    The source's may be of another moment, since it was refreshed at another time. So where the two differ, the target's
    is held against the rows that its definition gives now: only where it differs from these, too, is it stale.
    """
    compared: list[ViewCompared] = []
    for view in await dependent_views(connection, tables):  # each after those that it is made of
        if view.populated:
            one = await _compare(connection, source, view)
            if one.by and not one.equal and not one.stale and any(before.stale for before in compared):
                one = replace(one, stale=True, why="a view that is refreshed before it is stale")
            compared.append(one)
    return tuple(compared)


async def _compare(connection: AsyncConnection, source: Source, view: MaterializedView) -> ViewCompared:
    table = _as_table(view, await fetch_rows(connection, _columns(view)))
    if isinstance(source, PostgresSource):
        there = await source.fetch(sql.SQL(_THERE).format(sql.Literal(view.identifier.as_string(None))))
        if not there:
            return ViewCompared(view.name, why="the source has none of this name")
        if not there[0][0]:
            return ViewCompared(view.name, why="the source's was never filled")
        if {name for name, _ in await source.fetch(_columns(view))} != set(table.names):
            return ViewCompared(view.name, why="the source's has other columns")
        try:
            theirs, ours = await whole_hashes(connection, source, table)
        except AccessDeniedError:
            return ViewCompared(view.name, why="the source's role may not read it")
        done = ViewCompared(view.name, theirs.rows, ours.rows, by="rows", equal=theirs == ours)
        return done if done.equal else await _judged(connection, done, table)
    try:
        rows = await source.count(replace(table, key_size=1))
    except CountTimeoutError:
        return ViewCompared(view.name, why="the API takes too long to count it")
    except StoreError as error:
        if not isinstance(error, SchemaMismatchError | AccessDeniedError) and error.sqlstate != _NOT_POPULATED:
            raise
        return ViewCompared(view.name, why="the API does not give it")
    ours = await _hash(connection, table, table.rows)
    done = ViewCompared(view.name, rows, ours.rows, by="count", equal=rows == ours.rows)
    return done if done.equal else await _judged(connection, done, table)


async def _judged(connection: AsyncConnection, compared: ViewCompared, table: CopyTable) -> ViewCompared:
    """Which of the two is stale, where the target's own definition can be asked."""
    definition = await fetch_value(connection, _DEFINITION, [compared.view])
    try:
        held = await _hash(connection, table, table.rows)
        fresh = await _hash(connection, table, sql.SQL("({}) AS fresh").format(sql.SQL(definition)))
    except psycopg.Error as error:
        if error.sqlstate is None or connection.closed or connection.broken:
            raise
        right = missing_right(error)
        said = error_for_sqlstate(error.sqlstate, detail=f" ({right})" if right else "")
        return replace(compared, stale=True, why=f"they differ, and its rows of now cannot be read: {said}")
    if fresh == held:
        return replace(compared, why="the target's is as its tables are now: the source's is of another moment")
    return replace(compared, stale=True, why="the target's is not as its tables are now")


async def _hash(connection: AsyncConnection, table: CopyTable, rows: sql.Composed) -> Range:
    _, *found = await fetch_row(connection, HashedTable(table, frozenset()).whole(rows))
    return Range(*found)


def _columns(view: MaterializedView) -> sql.Composed:
    return sql.SQL(_COLUMNS).format(sql.Literal(view.identifier.as_string(None)))


def _as_table(view: MaterializedView, columns: Sequence[tuple[str, str]]) -> CopyTable:
    described = tuple(CopyColumn(name, kind, phone=False) for name, kind in columns)
    return CopyTable(view.schema, view.relation, described, 0, always_identity=False, replaces_rows=False)
