"""Rows of the source that share a natural key, and collations whose order has changed since indexes were made."""

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import inf

from psycopg import AsyncConnection, sql
from sqlalchemy import Table

from app.common.schemas import schemas_of
from app.migration.preflight.findings import Finding, finding
from app.migration.preflight.schemas.source_schema import SourceSeen
from app.migration.sources.moved_tables import known_count
from app.migration.sources.source import Source, records_of
from app.migration.tables.copy_table import (
    CopyColumn,
    CopyTable,
    identifier_of,
    keeps_unique,
    key_columns,
    name_of,
    quoted,
    schema_of,
    unique_in_model,
)
from app.privacy import mask_phones
from app.state.fetching import fetch_rows
from app.stores.supabase.grammar import alias

_SHOWN = 20
_GROUPED = """
CREATE TABLE keys (natural TEXT, row TEXT);
CREATE VIEW repeated AS
    SELECT natural, group_concat(row, char(30)) AS rows FROM keys GROUP BY natural HAVING count(*) > 1;
"""


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Keys that several rows have: how many, and the first of them with the primary keys of their rows.

    Attributes:
        unseen: rows that the source counts and did not give: it was asked for those after each page's last key, and a
            row of that same key is not after it.
    """

    count: int
    first: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    unseen: int = 0


def unique_keys(table: Table) -> list[tuple[str, ...]]:
    """The columns of each unique key: the one of rows first, then constraints, unique indexes, and the natural key."""
    keys = [key] if (key := key_columns(table)) else []
    keys += [names for names, _ in unique_in_model(table)]
    if natural := table.info.get("natural_key"):
        keys.append(tuple(natural))
    return list(dict.fromkeys(keys))


async def _by_query(connection: AsyncConnection, table: Table, key: tuple[str, ...], *, own: str) -> Duplicates:
    """Over a connection: the server groups.

    Args:
        own: the prefix that leaves out the rows of tables that inherit.
    """
    names = sql.SQL(", ").join(map(sql.Identifier, key))
    ids = sql.SQL(" || ', ' || ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in key_columns(table))
    present = sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(sql.Identifier(name)) for name in key)
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in key)
    query = sql.SQL(
        "SELECT count(*) OVER (), ARRAY[{texts}], (array_agg({ids}))[:20] FROM {own}{table} WHERE {present} "
        "GROUP BY {names} HAVING count(*) > 1 ORDER BY {names} LIMIT {shown}"
    ).format(
        texts=texts,
        ids=ids,
        own=sql.SQL(own),
        table=identifier_of(table),
        present=present,
        names=names,
        shown=sql.Literal(_SHOWN),
    )
    rows = await fetch_rows(connection, query)
    return Duplicates(rows[0][0] if rows else 0, tuple((tuple(values), tuple(keys)) for _, values, keys in rows))


def _unseen(before: int | None, given: int, after: int | None) -> int:
    """Rows that a source counted before and after, and did not give."""
    return 0 if before is None or after is None else max(0, min(before, after) - given)


async def _by_pages(source: Source, table: Table, key: tuple[str, ...], *, counts: bool) -> Duplicates:
    """Over REST: only the keys are read, and grouped in a file of SQLite's, whatever their number.

    Args:
        counts: the source counts the table's rows in time.
    """
    primary = list(key_columns(table))
    rest = [name for name in key if name not in primary]
    columns = tuple(CopyColumn(name, "text", False) for name in (*primary, *rest))
    reduced = CopyTable(schema_of(table), table.name, columns, len(primary), False, False)
    wanted = [alias(reduced.names.index(name)) for name in key]
    ids = [alias(position) for position in range(len(primary))]
    counts = counts and key == tuple(primary)  # the rows of any other key are not unseen
    before, given = await known_count(source, reduced) if counts else None, 0
    with closing(sqlite3.connect("")) as database:  # a temporary file
        database.executescript(_GROUPED)
        async for page in source.pages(reduced):
            given += page.rows
            database.executemany("INSERT INTO keys VALUES (?, ?)", _records(page.body, wanted, ids))
        (count,) = database.execute("SELECT count(*) FROM repeated").fetchone()
        first = database.execute("SELECT natural, rows FROM repeated ORDER BY natural LIMIT ?", [_SHOWN]).fetchall()
    after = await known_count(source, reduced) if counts else None
    unseen = _unseen(before, given, after)
    if unseen:  # rows that came and went while the keys were read are none: a second look tells
        again = sum([page.rows async for page in source.pages(reduced)])
        unseen = min(unseen, _unseen(after, again, await known_count(source, reduced)))
    return Duplicates(
        count,
        tuple((tuple(natural.split("\x1f")), tuple(rows.split("\x1e")[:_SHOWN])) for natural, rows in first),
        unseen,
    )


async def found_by_query(connection: AsyncConnection, tables: Sequence[Table], seen: SourceSeen) -> list[Finding]:
    """Keys that several rows of the tables have, over a connection; not those that an index keeps unique there."""
    found = []
    for table, key in _keys_to_check(tables, seen):
        if not await keeps_unique(connection, table, key):
            repeated = await _by_query(connection, table, key, own=seen.tables[name_of(table)].own)
            found += _findings(table, key, repeated)
    return found


async def found_by_pages(
    source: Source, tables: Sequence[Table], seen: SourceSeen, *, unusable: Collection[str], most: float
) -> list[Finding]:
    """The same over REST.

    Args:
        unusable: tables whose rows cannot be asked for by their keys.
        most: rows of a table past which it is not looked at, since all of its keys would be read.
    """
    found = []
    for table, key in _keys_to_check(tables, seen):
        there = seen.tables[name_of(table)]
        if name_of(table) in unusable or (there.primary_key and there.primary_key <= set(key)):
            continue
        if (inf if there.uncounted else there.rows or 0) > most:
            found.append(
                finding(
                    "source-duplicates-unchecked",
                    f"{name_of(table)} is large, so duplicates of ({', '.join(key)}) were not looked for",
                    "botdata preflight looks for them",
                    table=name_of(table),
                )
            )
            continue
        found += _findings(table, key, await _by_pages(source, table, key, counts=not there.uncounted))
    return found


def _keys_to_check(tables: Sequence[Table], seen: SourceSeen) -> list[tuple[Table, tuple[str, ...]]]:
    """The unique keys of the tables that hold more than one row and have the columns."""
    return [
        (table, key)
        for table in tables
        if (there := seen.tables.get(name_of(table)))
        and ((there.rows or 0) > 1 or there.uncounted)
        and key_columns(table)
        for key in unique_keys(table)
        if not {*key, *key_columns(table)}.intersection([*there.missing, *there.denied])
    ]


def _records(body: bytes, wanted: list[str], ids: list[str]) -> Iterator[tuple[str, str]]:
    for record in records_of(body):
        values = [record[name] for name in wanted]
        if None not in values:
            yield "\x1f".join(values), ", ".join(record[name] for name in ids)


def _of_rows_key(
    table: Table, key: tuple[str, ...], found: Duplicates, shown: Callable[[tuple[str, ...]], str]
) -> Finding:
    """For the key by which rows are told apart, which cannot tell these."""
    listed = "; ".join(
        f"({shown(values)}): {len(rows)} rows{' or more' if len(rows) == _SHOWN else ''}"
        for values, rows in found.first
    )
    more = f"; and {found.count - len(found.first):,} more" if found.count > len(found.first) else ""
    told = f"{found.count:,} keys ({', '.join(key)}) are there more than once: {listed}{more}" if found.count else ""
    hidden = f"{found.unseen:,} rows share the key ({', '.join(key)}) of others" if found.unseen else ""
    return finding(
        "source-duplicates",
        f"{name_of(table)} of the source: {'; '.join(filter(None, (told, hidden)))}; the target holds one row of each",
        "keep one row of each at the source; of those left, the target takes one, and of others that differ one is "
        "quarantined",
        table=name_of(table),
    )


def _findings(table: Table, key: tuple[str, ...], found: Duplicates) -> list[Finding]:
    """The finding where there are any, phones masked where the columns hold them."""
    if not (found.count or found.unseen):
        return []
    phones = {column.name for column in table.columns if column.info.get("phone")}
    mask_key = not phones.isdisjoint(key)
    mask_ids = not phones.isdisjoint(key_columns(table))

    def shown(values: tuple[str, ...], masked: bool) -> str:
        text = ", ".join(values)
        return mask_phones(text) if masked else text

    if key == key_columns(table):
        return [_of_rows_key(table, key, found, lambda values: shown(values, mask_key))]
    listed = "; ".join(
        f"{'' if table.info.get('keys_only') else f'({shown(values, mask_key)}): '}"
        f"ids {'; '.join(shown((one,), mask_ids) for one in rows)}"
        for values, rows in found.first
    )
    more = f"; and {found.count - len(found.first):,} more" if found.count > len(found.first) else ""
    return [
        finding(
            "source-duplicates",
            f"{name_of(table)} of the source has {found.count:,} values of ({', '.join(key)}) more than once, "
            f"which the target holds unique: {listed}{more}",
            "keep one row of each at the source; of those left, the target takes one and quarantines the others",
            table=name_of(table),
        )
    ]


_VERSIONED_DATABASES = 15  # the first PostgreSQL that keeps a version for a database's own collation
# An index may have another collation than its column. The default collation is the database's.
_OLD = """
SELECT k.name, k.made, k.now, array_agg(DISTINCT k.relation ORDER BY k.relation) FROM (
    SELECT t.place AS relation, c.oid, c.oid::regcollation::text AS name, c.collversion AS made,
        pg_collation_actual_version(c.oid) AS now
    FROM unnest(%(schemas)s::text[], %(relations)s::text[], %(names)s::text[]) AS t (schema, relation, place)
    JOIN pg_namespace n ON n.nspname = t.schema JOIN pg_class r ON r.relnamespace = n.oid AND r.relname = t.relation
    JOIN pg_index x ON x.indrelid = r.oid
    CROSS JOIN LATERAL unnest(x.indcollation::oid[]) AS used (oid) JOIN pg_collation c ON c.oid = used.oid
) k WHERE k.made IS NOT NULL AND k.now IS NOT NULL AND k.made <> k.now GROUP BY 1, 2, 3 ORDER BY 1
"""
_OLD_DEFAULT = """
SELECT datname, datcollversion, pg_database_collation_actual_version(oid) FROM pg_database
WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(oid)
"""


async def collation_findings(
    connection: AsyncConnection, tables: Sequence[Table], end: str, *, version: int
) -> list[Finding]:
    """A finding for each collation of another version than its indexes were made in.

    Args:
        end: "source" or "target".
        version: the server's.
    """
    given = {
        "schemas": [table.schema or schemas_of(connection).data for table in tables],
        "relations": [table.name for table in tables],
        "names": [name_of(table) for table in tables],
    }
    found = [
        _finding(
            end, f"collation {name}", made, now, f"indexes of {', '.join(places)}", f"ALTER COLLATION {name} REFRESH"
        )
        for name, made, now, places in await fetch_rows(connection, _OLD, given)
    ]
    if version >= _VERSIONED_DATABASES:
        found += [
            _finding(
                end,
                f"database {name}",
                made,
                now,
                "indexes on texts",
                f"ALTER DATABASE {quoted(name)} REFRESH COLLATION",
            )
            for name, made, now in await fetch_rows(connection, _OLD_DEFAULT)
        ]
    return found


def _finding(end: str, what: str, made: str, now: str, where: str, alter: str) -> Finding:
    return finding(
        f"{end}-collation-version",
        f"{what} of the {end} was made with version {made} of its library, which is {now} now: {where} may be in "
        "another order, so that rows are not found by them",
        f"REINDEX them, then: {alter} VERSION; a copy counts, and stops where rows are left out",
    )
