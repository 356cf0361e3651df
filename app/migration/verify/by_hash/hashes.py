"""The SQL that compares two databases by hashes: of ranges of the key's hash first, of single rows where ranges differ.

A range is all rows whose key's text has a hash with the same low bits, so that ranges need no order and no collation.
Hashes are PostgreSQL's own (`hashtextextended`); servers whose hashes are not the same would only cost time, since
every row that seems to differ is compared as text afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self

from psycopg import sql

from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.tables.copy_table import CopyColumn, CopyTable


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
        cast = frozenset(c.name for c in table.columns if types.get(c.name) != c.type or c.holds_xml)
        return cls(await source.own(table), cast), cls(table, cast)

    def whole(self) -> sql.Composed:
        """One row: 0, the count of all rows, the sum of their hashes (numeric); without groups, so that it is fast."""
        return sql.SQL("SELECT 0, count(*), coalesce(sum({}), 0) FROM {}").format(self.row_hash, self.table.rows)

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


def create_target_hashes(hashed: HashedTable) -> sql.Composed:
    """The same for the target's rows, filled; a hash that a join computed would be computed twice."""
    return sql.SQL("CREATE TEMP TABLE target_hashes AS {}").format(hashed.rows((), 0, version="xmin"))


def unequal_keys(hashed: HashedTable, within: Collection[int], bits: int) -> sql.Composed:
    """Keys (text[]) of rows in the ranges that one side lacks, or holds with another hash than the other side."""
    names = key_names(hashed.table)
    keys = sql.SQL(", ").join(sql.SQL("coalesce(s.{0}, t.{0})").format(name) for name in names)
    same = sql.SQL(" AND ").join(sql.SQL("s.{0} = t.{0}").format(name) for name in names)
    return sql.SQL(
        "SELECT DISTINCT ARRAY[{}] FROM source_hashes s FULL JOIN ({}) t ON {} "
        "WHERE s.h IS DISTINCT FROM t.h ORDER BY 1"
    ).format(keys, hashed.rows(within, bits), same)
