"""The publication at the source, of those tables whose changes it can publish."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql

from app.errors import MigrationError
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.tables.copy_table import CopyTable
from app.next_step import Command, NextStep
from app.stores.postgres.session import source_errors

# Of each table: why it cannot be published, as the first of these that is so; NULL: it can. An index whose check is
# deferred, or that is partial, is no replica identity to PostgreSQL. Its leaves' identities are what counts for a
# partitioned table. By a stream xml comes without its declaration.
_LOOK = """
WITH RECURSIVE wanted AS (SELECT n, to_regclass(name) AS oid, key, columns, is_only FROM ROWS FROM (
        json_to_recordset({wanted}::json) AS (name text, key text[], columns text[], is_only boolean)
    ) WITH ORDINALITY AS w (name, key, columns, is_only, n)),
base AS (
    SELECT oid AS type, oid, typbasetype FROM pg_type
    UNION ALL SELECT b.type, t.oid, t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.typbasetype
),
leaf AS (
    SELECT n, w.oid, key FROM wanted w JOIN pg_class c ON c.oid = w.oid WHERE c.relkind <> 'p'
    UNION ALL SELECT n, relid, key FROM wanted w JOIN pg_class c ON c.oid = w.oid, pg_partition_tree(w.oid)
    WHERE c.relkind = 'p' AND isleaf
)
SELECT CASE
    WHEN c.oid IS NULL THEN 'it is not there'
    WHEN cardinality(key) = 0 THEN 'it has no key'
    WHEN c.relkind NOT IN ('r', 'p') THEN 'it is no table'
    WHEN EXISTS (SELECT FROM leaf l JOIN pg_class p ON p.oid = l.oid WHERE l.n = w.n
        AND (p.relkind <> 'r' OR p.relpersistence <> 'p')) THEN 'it is unlogged, or has a partition that is foreign'
    WHEN c.relkind = 'r' AND NOT is_only AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid)
        THEN 'it shows the rows of tables that inherit from it'
    WHEN EXISTS (SELECT FROM unnest(columns) name WHERE NOT EXISTS (SELECT FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attname = name AND attnum > 0 AND NOT attisdropped AND attgenerated = ''))
        THEN 'the source lacks a column of it, or makes one by itself'
    WHEN EXISTS (SELECT FROM pg_attribute a JOIN base b ON b.type = a.atttypid WHERE a.attrelid = c.oid
        AND a.attname = ANY (columns) AND (b.oid = 'xml'::regtype
            OR (b.oid <> b.type AND b.oid IN ('boolean'::regtype, 'bpchar'::regtype, 'inet'::regtype))))
        THEN 'its xml, or its domain over boolean, character or inet, comes otherwise by a stream'
    WHEN EXISTS (SELECT FROM leaf l JOIN pg_class p ON p.oid = l.oid WHERE l.n = w.n AND p.relreplident <> 'f'
        AND NOT EXISTS (SELECT FROM pg_index x WHERE x.indrelid = p.oid AND indimmediate AND indisvalid
            AND indpred IS NULL AND CASE p.relreplident WHEN 'd' THEN indisprimary WHEN 'i' THEN indisreplident
            ELSE false END
            AND l.key <@ ARRAY(SELECT attname::text FROM pg_attribute a WHERE a.attrelid = p.oid
                AND a.attnum = ANY (x.indkey[:x.indnkeyatts - 1]))))
        THEN 'its replica identity does not hold its key'
END
FROM wanted w LEFT JOIN pg_class c ON c.oid = w.oid ORDER BY n
"""
_MEMBERS = """
SELECT n.nspname, c.relname, to_jsonb(pr) ->> 'prattrs' IS NULL AND to_jsonb(pr) ->> 'prqual' IS NULL
FROM pg_publication p JOIN pg_publication_rel pr ON pr.prpubid = p.oid JOIN pg_class c ON c.oid = pr.prrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE pubname = {}
"""
_OPTIONS = """
SELECT puballtables, pubinsert AND pubupdate AND pubdelete AND pubtruncate AND pubviaroot,
    pg_has_role(pubowner, 'USAGE') FROM pg_publication WHERE pubname = {}
"""
_FINGERPRINT = """
SELECT md5(concat_ws(' ', p.oid, p.xmin, (SELECT string_agg(pr.oid::text, ',' ORDER BY pr.oid)
    FROM pg_publication_rel pr WHERE prpubid = p.oid))) FROM pg_publication p WHERE pubname = {}
"""
_WITH = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true"


@dataclass(frozen=True, slots=True)
class Publishable:
    """Which of some tables can be published: those, and why not the others, by name."""

    tables: tuple[CopyTable, ...]
    left: dict[str, str]


class Publication:
    """One publication; what changes it has a session of its own, which may write."""

    def __init__(self, source: PostgresSource, name: str) -> None:
        self._source = source
        self.name = name

    async def look(self, tables: Sequence[CopyTable]) -> Publishable:
        """Ask the source's catalog."""
        return _sorted_out(tables, await self._source.fetch(_look(tables)))

    async def _look(self, connection: AsyncConnection, tables: Sequence[CopyTable]) -> Publishable:
        return _sorted_out(tables, await (await connection.execute(_look(tables))).fetchall())

    async def exists(self) -> bool:
        """Whether it is there."""
        return bool(await self._source.fetch(sql.SQL(_OPTIONS).format(sql.Literal(self.name))))

    async def fingerprint(self) -> str:
        """Another one where it was altered, or made anew: what was written meanwhile may not have been published."""
        rows = await self._source.fetch(sql.SQL(_FINGERPRINT).format(sql.Literal(self.name)))
        return str(rows[0][0]) if rows else ""

    async def publish(self, tables: Sequence[CopyTable]) -> Publishable:
        """Make it hold exactly those of the tables that can be published, or alter it.

        What can be is asked in the transaction that changes it, and the tables keep their replica identities until
        that ends: once published, a table without one refuses its own application's updates.

        Raises:
            MigrationError: the role may not; names the statement for the tables' owner.
            StoreError: the source failed.
        """
        async with self._writing() as connection:
            first = await self._look(connection, tables)
            if first.tables:
                names = sql.SQL(", ").join(table.identifier for table in first.tables)
                await connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
            second = await self._look(connection, first.tables)
            found = Publishable(second.tables, first.left | second.left)
            await self._change(connection, found)
        return found

    async def drop(self) -> None:
        """Drop it; nothing where it is not there."""
        async with self._writing() as connection:
            await connection.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(self.name)))

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write, in a session that ends with it."""
        with source_errors():
            async with await self._source.connect() as connection, connection.transaction():
                await connection.execute("SET TRANSACTION READ WRITE")
                yield connection

    async def _change(self, connection: AsyncConnection, found: Publishable) -> None:
        name = sql.Identifier(self.name)
        rows = await self._ask(connection, _OPTIONS)
        if not found.tables:
            if rows:
                await connection.execute(sql.SQL("DROP PUBLICATION {}").format(name))
            return
        tables = members_of(found.tables)
        if not rows:
            statements = [sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH ({})").format(name, tables, sql.SQL(_WITH))]
        else:
            (for_all, options, _) = rows[0]
            if for_all:
                raise self._refused("it publishes all tables, and is left alone", ())
            members = await self._ask(connection, _MEMBERS)
            statements = []
            wanted = {(self._source.schemas.named(one.schema), one.relation_name, True) for one in found.tables}
            if set(members) != wanted:
                statements.append(sql.SQL("ALTER PUBLICATION {} SET TABLE {}").format(name, tables))
            if not options:
                statements.append(sql.SQL("ALTER PUBLICATION {} SET ({})").format(name, sql.SQL(_WITH)))
        try:
            for statement in statements:
                await connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege as error:
            raise self._refused(
                error.diag.message_primary or "permission denied",
                [self._source.schemas.named(one.as_string(None)) for one in statements],
            ) from None

    def _refused(self, why: str, statements: Sequence[str]) -> MigrationError:
        remedy: list[str | Command] = [f"run as the owner of the tables: {'; '.join(statements)}; then: "]
        if not statements:
            remedy = [f"DROP PUBLICATION {self.name}, if nobody needs it; then: "]
        return MigrationError(
            f"the publication {self.name} at the source: {why}",
            step="sync",
            pending="everything; nothing was written",
            next_step=NextStep(*remedy, Command("sync", "--follow --by stream")),
        )

    async def _ask(self, connection: AsyncConnection, query: str) -> list[tuple[Any, ...]]:
        return await (await connection.execute(sql.SQL(query).format(sql.Literal(self.name)))).fetchall()


def _look(tables: Sequence[CopyTable]) -> sql.Composed:
    wanted = [
        {
            "name": table.identifier.as_string(None),
            "key": [column.name for column in table.key],
            "columns": table.names,
            "is_only": table.has_only,
        }
        for table in tables
    ]
    return sql.SQL(_LOOK).format(wanted=sql.Literal(json.dumps(wanted)))


def _sorted_out(tables: Sequence[CopyTable], rows: Sequence[tuple[Any, ...]]) -> Publishable:
    why = {table.name: reason for table, (reason,) in zip(tables, rows, strict=True) if reason}
    return Publishable(tuple(table for table in tables if table.name not in why), why)


def members_of(tables: Sequence[CopyTable]) -> sql.Composed:
    """The tables as they stand in CREATE PUBLICATION: a plain one without those that inherit from it."""
    return sql.SQL(", ").join(table.rows for table in tables)


async def oids_of(source: PostgresSource, tables: Sequence[CopyTable]) -> dict[int, CopyTable]:
    """The tables by their oids, in their order."""
    quoted = sql.Literal([table.identifier.as_string(None) for table in tables])
    rows = await source.fetch(
        sql.SQL("SELECT n, to_regclass(name)::oid FROM unnest({}::text[]) WITH ORDINALITY u (name, n)").format(quoted)
    )
    return {oid: tables[number - 1] for number, oid in sorted(rows)}
