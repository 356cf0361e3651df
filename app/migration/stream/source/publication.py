"""The publication at the source, of those tables whose changes it can publish; and fingerprints of the tables."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql

from app.errors import MigrationError
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.postgres.silent_changes import TYPES
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


# A change of a table itself sends no message, and may change every row. Four parts tell of it. What the columns and the
# types are, and since when each partition is one: what is written to it while it is none is not sent. The versions of
# the catalog's rows of the columns; the files, of a partitioned table after a p; the replica identities. ALTER COLUMN
# with USING that keeps the type changes the second and the third at once, SET DEFAULT the second, TRUNCATE the third.
_FINGERPRINTS = """
WITH types AS (SELECT md5(concat_ws('|', {types})) AS t),
wanted AS (SELECT name, to_regclass(quoted) AS oid
    FROM json_to_recordset({wanted}::json) AS w (name text, quoted text)),
tree AS (SELECT name, oid FROM wanted UNION SELECT name, relid FROM wanted w, pg_partition_tree(w.oid))
SELECT name, concat_ws(' ', md5((SELECT t FROM types) || coalesce(string_agg(a.columns, ';' ORDER BY tree.oid), '')
        || coalesce(string_agg(a.attached, ';' ORDER BY tree.oid), '')),
    md5(coalesce(string_agg(a.versions, ';' ORDER BY tree.oid), '')),
    CASE WHEN bool_or((SELECT relkind = 'p' FROM pg_class c WHERE c.oid = tree.oid)) THEN 'p' ELSE '' END
    || md5(coalesce(string_agg(pg_relation_filenode(tree.oid)::text, ';' ORDER BY tree.oid), '')),
    md5(coalesce(string_agg((SELECT concat_ws(' ', relreplident, (
        SELECT string_agg(concat_ws(' ', indexrelid, indkey, indisprimary), ',' ORDER BY indexrelid) FROM pg_index
        WHERE indrelid = c.oid AND (indisprimary OR indisreplident)))
        FROM pg_class c WHERE c.oid = tree.oid), ';' ORDER BY tree.oid), '')))
FROM tree CROSS JOIN LATERAL (
    SELECT string_agg(concat_ws(' ', attrelid, attnum, attname, atttypid, atttypmod, attgenerated), ','
        ORDER BY attnum) AS columns, string_agg(xmin::text, ',' ORDER BY attnum) AS versions,
        (SELECT string_agg(xmin::text, ',' ORDER BY inhseqno) FROM pg_inherits WHERE inhrelid = tree.oid) AS attached
    FROM pg_attribute WHERE attrelid = tree.oid AND attnum > 0 AND NOT attisdropped) a
GROUP BY name
"""

CHANGED = "- - - -"  # a fingerprint that differs from any


async def oids_of(source: PostgresSource, tables: Sequence[CopyTable]) -> dict[int, CopyTable]:
    """The tables by their oids, in their order."""
    quoted = sql.Literal([table.identifier.as_string(None) for table in tables])
    rows = await source.fetch(
        sql.SQL("SELECT n, to_regclass(name)::oid FROM unnest({}::text[]) WITH ORDINALITY u (name, n)").format(quoted)
    )
    return {oid: tables[number - 1] for number, oid in sorted(rows)}


async def fingerprints(source: PostgresSource, tables: Sequence[CopyTable]) -> dict[str, str]:
    """Of each table by its name."""
    wanted = [{"name": table.name, "quoted": table.identifier.as_string(None)} for table in tables]
    query = sql.SQL(_FINGERPRINTS).format(wanted=sql.Literal(json.dumps(wanted)), types=sql.SQL(TYPES))
    return dict(await source.fetch(query))


def changed_tables(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of those whose rows may be others than the changes told, or have other columns."""
    return [name for name, text in now.items() if name in before and _has_changed(before[name], text)]


def other_files(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of the partitioned tables whose partitions' files are others: a TRUNCATE of one by itself sends nothing."""
    pairs = {name: (before[name].split()[2], text.split()[2]) for name, text in now.items() if name in before}
    return [name for name, (was, files) in pairs.items() if files.startswith("p") and was != files]


def other_identities(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of those whose old rows come with other columns than before."""
    return [name for name, text in now.items() if name in before and before[name].split()[3] != text.split()[3]]


def _has_changed(before: str, now: str) -> bool:
    is_same = [one == other for one, other in zip(before.split(), now.split(), strict=True)]
    return not is_same[0] or not (is_same[1] or is_same[2])
