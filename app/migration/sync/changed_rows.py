"""Which rows a sync looks at: those that may have changed by their versions; and keys kept until they are needed."""

import hashlib
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Self

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.errors import MigrationError
from app.migration.keys.key_listing import (
    add_source_keys,
    count_keys,
    create_source_keys,
    extra_keys,
    missing_keys,
    require_whole,
    same_source_key,
    select_keys,
    source_keys,
)
from app.migration.keys.keyed_rows import versioned_rows
from app.migration.load.statements import any_differs, key_array, same_key
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import VERSION, Source
from app.migration.sync.options import SyncOptions
from app.migration.tables.copy_table import CopyTable
from app.migration.target.target_session import as_json
from app.migration.verify.hash_comparison import record_equal_rows
from app.next_step import Command, NextStep
from app.state.fetching import fetch_column
from app.state.runs import quarantine, row_versions
from app.stores.postgres.cursors import rendered


async def unsettled_keys(connection: AsyncConnection, table: CopyTable, *, missing: bool, most: int) -> list[Key]:
    """Keys of the source, no more than `most`, whose rows' versions are not those of the pair.

    Args:
        missing: those too that the target does not hold.
    """
    return await row_versions.unsettled_keys(
        connection,
        table.name,
        rows=table.rows,
        key=key_array(table, "s"),
        same=same_source_key(table),
        version=sql.Identifier(VERSION),
        missing=missing,
        most=most,
    )


async def changed_keys(
    connection: AsyncConnection, source: Source, table: CopyTable, options: SyncOptions, *, stand: bool, missing: bool
) -> list[Key] | None:
    """Keys of rows that may have changed since both sides were seen equal; None: more than are asked for by key.

    Where they are more, as at the first sync after a copy, rows that are equal by their hashes are left out first.

    Args:
        stand: row versions tell which values have changed.
        missing: rows too that the target does not hold.
    """
    if not table.version or (options.dry_run and not stand):  # pairs may be there that tell nothing
        return None
    most = options.most_by_key
    keys = await unsettled_keys(connection, table, missing=missing, most=most + 1)
    hashes = source.pace.max_rate is None and not options.dry_run  # they have the source read all rows at once
    if len(keys) > most and isinstance(source, PostgresSource) and hashes:
        await record_equal_rows(connection, source, table.with_made)
        keys = await unsettled_keys(connection, table, missing=missing, most=most + 1)
    return keys if len(keys) <= most else None


async def record_pairs(connection: AsyncConnection, table: CopyTable, body: bytes) -> int:
    """Record the pairs of a page's rows that the target holds with the same text; returns how many those are.

    Raises:
        psycopg.Error: class 22: a text of the page is no value of its column's type.
    """
    statement = row_versions.record_pairs(
        table.name,
        page=versioned_rows(table, len(table.columns)),
        rows=table.rows,
        key=key_array(table, "t"),
        same=same_key(table),
        version=sql.Identifier(VERSION),
        different=any_differs(table),
    )
    return (await connection.execute(statement, [as_json(body)])).rowcount


async def still_listed(
    connection: AsyncConnection, source: Source, table: CopyTable, keys: Sequence[Key], *, is_repeated: bool
) -> int:
    """How many of these keys the source lists, though it gave no row for them when it was asked.

    Args:
        is_repeated: the next round lists them anyway, so that until then all of them count.
    """
    if not keys or is_repeated:
        return len(keys)
    async with source_keys(connection, source, table, versions=True) as listing:
        require_whole(listing, source, table, step="sync", pending="the rest of this round")
        query = sql.SQL("SELECT DISTINCT {} FROM source_keys s").format(key_array(table, "s"))
        return len(await select_keys(connection, query.as_string(connection)) & set(keys))


async def rows_beside(connection: AsyncConnection, source: Source, table: CopyTable, more: int) -> int:
    """How many rows the target holds that the source does not, or (where it holds fewer) the other way round.

    A trigger or a rule of a table that comes later may have written them, after this table was brought. A mirror may
    write too, and so the number alone proves nothing: what it wrote is in the source as well.

    Args:
        more: how many rows more the target holds than were left there; negative where it holds fewer.
    """
    async with source_keys(connection, source, table) as listing:
        require_whole(listing, source, table, step="sync", pending="to look at what triggers and rules wrote")
        query = extra_keys(table) if more > 0 else missing_keys(table)
        return min(await count_keys(connection, quarantine.not_refused(table.name, query)), abs(more))


_PART = 10_000


class WalkedKeys:
    """The keys that a source listed, and those of the rows that its pages gave since.

    A row that the pages left out is asked for by its key.
    """

    def __init__(self, connection: AsyncConnection, table: CopyTable) -> None:
        self._connection = connection
        self._table = table
        digest = hashlib.sha256(table.name.encode()).hexdigest()[:16]
        self._listed, self._walked = f"listed_{digest}", f"walked_{digest}"
        self._add = rendered(add_source_keys(table, self._walked, versions=False))
        self._rows = 0

    async def keep(self) -> None:
        """Take the keys from `source_keys`, which is no longer there then."""
        await self.drop()
        await self._connection.execute(
            sql.SQL("ALTER TABLE pg_temp.source_keys RENAME TO {}").format(sql.Identifier(self._listed))
        )
        await self._connection.execute(create_source_keys(self._table, self._walked))

    async def add(self, body: bytes, rows: int) -> None:
        """Add the keys of a page."""
        await self._connection.execute(self._add, [as_json(body)])
        self._rows += rows

    async def left_out(self, source: Source, options: SyncOptions, *, deleted: Collection[Key] = ()) -> list[Key]:
        """The listed keys whose rows no page gave: a row has gone since, or the pages follow an order that is none.

        Args:
            deleted: those that the round itself has deleted.

        Raises:
            MigrationError: more than are asked for by key, without those that the source lists no more.
        """
        most = options.most_by_key
        await self._connection.execute(sql.SQL("ANALYZE pg_temp.{}").format(sql.Identifier(self._walked)))
        left = await self._not_walked(most, deleted)
        if len(left) > most:
            async with source_keys(self._connection, source, self._table) as listing:
                require_whole(listing, source, self._table, step="sync", pending="the rest of this round")
                left = await self._not_walked(most, deleted, listed_still=True)
        await self.drop()
        if len(left) > most:
            raise MigrationError(
                f"{self._table.name}: the source's pages gave {self._rows:,} rows, and left out more than {most:,} of "
                "those that it lists; likely an index is in the order of another collation version",
                step="sync",
                table=self._table.name,
                pending="the rest of this round",
                next_step=NextStep("REINDEX it at the source, then: ", Command("sync", "--reverse" * options.reverse)),
            )
        return left

    async def _not_walked(self, most: int, deleted: Collection[Key], *, listed_still: bool = False) -> list[Key]:
        def same(other: str) -> sql.Composed:
            parts = (sql.SQL(f"{other}.{{0}} = s.{{0}}").format(sql.Identifier(one.name)) for one in self._table.key)
            return sql.SQL(" AND ").join(parts)

        query = sql.SQL(
            "SELECT DISTINCT {} FROM pg_temp.{} s WHERE NOT EXISTS (SELECT FROM pg_temp.{} w WHERE {}){} LIMIT {}"
        ).format(
            key_array(self._table, "s"),
            sql.Identifier(self._listed),
            sql.Identifier(self._walked),
            same("w"),
            sql.SQL(" AND EXISTS (SELECT FROM pg_temp.source_keys l WHERE {})").format(same("l"))
            if listed_still
            else sql.SQL(""),
            sql.Literal(most + 1 + len(deleted)),
        )
        found = await select_keys(self._connection, query.as_string(self._connection))
        return sorted(found - set(deleted))

    async def drop(self) -> None:
        """Drop both tables."""
        for name in (self._listed, self._walked):
            await self._connection.execute(sql.SQL("DROP TABLE IF EXISTS pg_temp.{}").format(sql.Identifier(name)))


@dataclass(frozen=True, slots=True)
class KeptKeys:
    """Different keys, in their order.

    Attributes:
        count: how many there are.
    """

    count: int
    _connection: AsyncConnection
    _table: sql.Identifier

    @classmethod
    async def keep(cls, connection: AsyncConnection, name: str, query: sql.Composed) -> Self:
        """Keep what a query for keys (text[]) gives, in the place of what was kept under this name."""
        table = sql.Identifier("pg_temp", f"kept_{hashlib.sha256(name.encode()).hexdigest()[:16]}")
        await connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
        made = await connection.execute(
            sql.SQL(
                "CREATE TABLE {} AS SELECT row_number() OVER (ORDER BY key) AS number, key FROM (SELECT DISTINCT key "
                "FROM ({}) k (key)) k"
            ).format(table, query)
        )
        await connection.execute(sql.SQL("CREATE INDEX ON {} (number)").format(table))
        return cls(made.rowcount, connection, table)

    async def parts(self) -> AsyncIterator[list[Key]]:
        """The keys, some thousands at a time; there are none any more after the last."""
        query = sql.SQL("SELECT key FROM {} WHERE number > %(after)s AND number <= %(after)s + {} ORDER BY number")
        for after in range(0, self.count, _PART):
            part = query.format(self._table, sql.Literal(_PART))
            yield list(map(tuple, await fetch_column(self._connection, part, {"after": after})))
        await self._connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(self._table))
