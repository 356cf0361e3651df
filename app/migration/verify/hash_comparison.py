"""Comparing a table of two databases by hashes: equal rows stay where they are, only hashes travel.

They are of ranges of the key's hash first, and of single rows where ranges differ. A range is all rows whose key's text
has a hash with the same low bits, so that ranges need no order and no collation. Hashes are PostgreSQL's own
(`hashtextextended`); servers whose hashes are not the same would only cost time, since every row that seems to differ
is compared as text afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Self

from psycopg import AsyncConnection, sql

from app.common.deadlines import cancel
from app.migration.sources.moved_tables import refuse_null_keys
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Progress
from app.migration.tables.copy_table import CopyColumn, CopyTable, named
from app.migration.target.target_session import dropped_after
from app.migration.verify.findings import Findings, stream_keys
from app.state.fetching import fetch_rows, fetch_value
from app.state.runs import row_versions

# A table is one range at first, since mostly all rows are equal; a larger one is split into so many (as bits) at once:
# halving it again and again would read it as many times.
_FINER_BITS = 12
_FEW_ROWS = 5000


async def compare_by_hashes(
    connection: AsyncConnection, source: PostgresSource, table: CopyTable, findings: Findings, progress: Progress
) -> tuple[int, int]:
    """Compare all rows; returns how many there are in the source and in the target.

    Both sides hash all their rows at the same time. Where the sums differ, they are made again for ranges of the key's
    hash. The rows of ranges that differ are hashed one by one, the source's hashes joined with the target's in a
    temporary table, and what is unequal is looked at.
    """
    await refuse_null_keys(source, table, step="verify")
    progress.begin(table.name, await _estimate(connection, table), 0)
    at_source, hashed = await HashedTable.of_both(source, table)
    theirs, ours = await hash_both(connection, source, at_source.whole(), hashed.whole())
    source_rows, target_rows = theirs[0].rows, ours[0].rows
    bits, unequal = 0, _unequal(theirs, ours)
    if unequal and source_rows + target_rows > _FEW_ROWS:
        await _let_sort(connection, source, sorting=False)
        theirs, ours = await hash_both(connection, source, at_source.ranges(_FINER_BITS), hashed.ranges(_FINER_BITS))
        await _let_sort(connection, source, sorting=True)
        bits, unequal = _FINER_BITS, _unequal(theirs, ours)
    if unequal:
        await _compare_rows(connection, source, at_source, hashed, findings, unequal, bits)
    progress.advance(table.name, source_rows)
    return source_rows, target_rows


async def _let_sort(connection: AsyncConnection, source: PostgresSource, *, sorting: bool) -> None:
    """Whether both planners may sort: they take each row for a range of its own, and would sort all rows to group."""
    query = sql.SQL("SELECT set_config('enable_sort', {}, false)").format(sql.Literal(str(sorting).lower()))
    await source.fetch(query)
    await connection.execute(query)


async def hash_both(
    connection: AsyncConnection, source: PostgresSource, at_source: sql.Composed, at_target: sql.Composed
) -> tuple[dict[int, Range], dict[int, Range]]:
    """The ranges of both sides, hashed at the same time."""
    both = await asyncio.gather(source.fetch(at_source), fetch_rows(connection, at_target), return_exceptions=True)
    for outcome in both:
        if isinstance(outcome, BaseException):
            raise outcome
    theirs, ours = ({row[0]: Range(row[1], row[2]) for row in rows} for rows in both if isinstance(rows, list))
    return theirs, ours


async def _compare_rows(
    connection: AsyncConnection,
    source: PostgresSource,
    at_source: HashedTable,
    hashed: HashedTable,
    findings: Findings,
    within: Collection[int],
    bits: int,
) -> None:
    async with dropped_after(connection, "source_hashes"):
        await connection.execute(create_source_hashes(hashed.table))
        async with connection.cursor() as cursor, cursor.copy("COPY source_hashes FROM STDIN") as copied:
            async for piece in source.stream(at_source.rows(within, bits)):
                await copied.write(piece)
        await connection.execute("ANALYZE source_hashes")
        query = unequal_keys(hashed, within, bits).as_string(connection)
        async for keys in stream_keys(connection, query):
            await findings.look(keys)


async def _estimate(connection: AsyncConnection, table: CopyTable) -> int:
    """About how many rows the target holds: to count them would cost half as much as to compare them."""
    query = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass(%s)"
    return int(await fetch_value(connection, query, [named(connection, table.identifier)]) or 0)


def _unequal(theirs: dict[int, Range], ours: dict[int, Range]) -> set[int]:
    return {number for number in theirs.keys() | ours.keys() if theirs.get(number) != ours.get(number)}


_ENDING = 5.0  # seconds for the source's statement, where the target's has failed
_PIECE = 1 << 20  # bytes


async def record_equal_rows(connection: AsyncConnection, source: PostgresSource, table: CopyTable) -> None:
    """Record the pairs of all rows that have the same hash on both sides.

    On each side one statement gives the hashes and the xmins, so that a row's are of one snapshot. Both sides are at
    work at the same time: what the source gives waits in a file.
    """
    at_source, hashed = await HashedTable.of_both(source, table)
    async with dropped_after(connection, "source_hashes", "target_hashes"):
        with TemporaryFile() as given:
            reading = asyncio.create_task(_read(source, at_source, given))
            try:
                # Filled: a hash that a join computed would be computed twice.
                rows = hashed.rows((), 0, version="xmin")
                await connection.execute(sql.SQL("CREATE TEMP TABLE target_hashes AS {}").format(rows))
                await reading
            finally:
                await cancel({reading}, _ENDING)
            await connection.execute(create_source_hashes(table, versions=True))
            given.seek(0)
            async with connection.cursor() as cursor, cursor.copy("COPY source_hashes FROM STDIN") as copied:
                while piece := given.read(_PIECE):
                    await copied.write(piece)
        await connection.execute("ANALYZE source_hashes, target_hashes")
        await connection.execute(row_versions.record_all(table.name, keys=key_names(table)))


async def _read(source: PostgresSource, hashed: HashedTable, into: IO[bytes]) -> None:
    async for piece in source.stream(hashed.rows((), 0, version=hashed.table.version)):
        into.write(piece)


@dataclass(frozen=True, slots=True)
class Range:
    """What a side holds in a range: how many rows, and the sum of their hashes."""

    rows: int
    total: int


@dataclass(frozen=True, slots=True)
class HashedTable:
    """A table as both sides hash it.

    Attributes:
        cast: names of the columns that are written as a cast to text writes them, since their types differ, or since
            xml loses its declaration otherwise.
    """

    table: CopyTable
    cast: frozenset[str]

    @classmethod
    async def of_both(cls, source: PostgresSource, table: CopyTable) -> tuple[Self, Self]:
        """The table as the source hashes it, and as the target does."""
        types = dict(await source.fetch(_column_types(table)))
        cast = frozenset(c.name for c in table.columns if types.get(c.name) != c.type or "xml" in c.parts)
        return cls(await source.own(table), cast), cls(table, cast)

    def whole(self, rows: sql.Composed | None = None) -> sql.Composed:
        """One row: 0, the count of all rows, the sum of their hashes (numeric); without groups, so that it is fast.

        Args:
            rows: what stands after FROM in place of the table.
        """
        query = sql.SQL("SELECT 0, count(*), coalesce(sum({}), 0) FROM {}")
        return query.format(self.row_hash, rows or self.table.rows)

    def ranges(self, bits: int) -> sql.Composed:
        """Rows of: a range's number, its count of rows, the sum of their hashes (numeric).

        Args:
            bits: how many low bits of the key's hash number a range.
        """
        return sql.SQL("SELECT {}, count(*), sum({}) FROM {} GROUP BY 1").format(
            self._number(bits), self.row_hash, self.table.rows
        )

    def rows(self, within: Collection[int], bits: int, *, version: str = "") -> sql.Composed:
        """Rows of these ranges: the key's columns as text, named k0, k1 and so on, and the row's hash, h.

        Args:
            version: a column whose text, v, comes after the hash.
        """
        keys = (
            sql.SQL('{}::text COLLATE "C" AS {}').format(sql.Identifier(column.name), name)
            for name, column in zip(key_names(self.table), self.table.key, strict=True)
        )
        last = sql.SQL(", {}::text AS v").format(sql.Identifier(version)) if version else sql.SQL("")
        return sql.SQL("SELECT {}, {} AS h{} FROM {}{}").format(
            sql.SQL(", ").join(keys), self.row_hash, last, self.table.rows, self._where(within, bits)
        )

    @property
    def row_hash(self) -> sql.Composed:
        """The hash of all columns that are compared, as one text."""
        return _hash(map(self._column, self.table.columns))

    def _number(self, bits: int) -> sql.Composed:
        keys = [self._column(column) for column in self.table.key]
        return sql.SQL("({} & {})").format(_hash(keys), sql.Literal(2**bits - 1))

    def _where(self, within: Collection[int], bits: int) -> sql.Composed:
        if not bits or len(within) == 2**bits:
            return sql.Composed([])
        numbers = sql.SQL(", ").join(map(sql.Literal, sorted(within)))
        return sql.SQL(" WHERE {} IN ({})").format(self._number(bits), numbers)

    def _column(self, column: CopyColumn) -> sql.Composable:
        name = sql.Identifier(column.name)
        return sql.SQL("{}::text").format(name) if column.name in self.cast else name


def _hash(columns: Iterable[sql.Composable]) -> sql.Composed:
    listed = list(columns)
    text = listed[0] if len(listed) == 1 else sql.SQL("ROW({})").format(sql.SQL(", ").join(listed))
    return sql.SQL('hashtextextended({}::text COLLATE "C", 0)').format(text)


def _column_types(table: CopyTable) -> sql.Composed:
    """Rows of: a column's name and its type, written as in CopyColumn."""
    return sql.SQL(
        "SELECT attname, format_type(atttypid, -1) FROM pg_attribute "
        "WHERE attrelid = to_regclass({}) AND attnum > 0 AND NOT attisdropped"
    ).format(sql.Literal(table.identifier.as_string(None)))


def key_names(table: CopyTable) -> list[sql.Identifier]:
    """What the columns of a key are called among hashes."""
    return [sql.Identifier(f"k{n}") for n in range(table.key_size)]


def create_source_hashes(table: CopyTable, *, versions: bool = False) -> sql.Composed:
    """A temporary table for keys and hashes of the source's rows, and for their versions."""
    keys = (sql.SQL('{} text COLLATE "C"').format(name) for name in key_names(table))
    return sql.SQL("CREATE TEMP TABLE source_hashes ({}, h bigint{})").format(
        sql.SQL(", ").join(keys), sql.SQL(", v text" if versions else "")
    )


def unequal_keys(hashed: HashedTable, within: Collection[int], bits: int) -> sql.Composed:
    """Keys (text[]) of rows in the ranges that one side lacks, or holds with another hash than the other side."""
    names = key_names(hashed.table)
    keys = sql.SQL(", ").join(sql.SQL("coalesce(s.{0}, t.{0})").format(name) for name in names)
    same = sql.SQL(" AND ").join(sql.SQL("s.{0} = t.{0}").format(name) for name in names)
    return sql.SQL(
        "SELECT DISTINCT ARRAY[{}] FROM source_hashes s FULL JOIN ({}) t ON {} "
        "WHERE s.h IS DISTINCT FROM t.h ORDER BY 1"
    ).format(keys, hashed.rows(within, bits), same)
