"""The temporary table of a dry run: like the target's, with its constraints and indexes, without its sequences."""

from collections import defaultdict

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from app.migration.tables.copy_table import CopyTable, named
from app.migration.tables.put_aside import find_unvalidated
from app.state.fetching import fetch_column, fetch_rows, fetch_value

NAME = "trial_rows"
_HERE = sql.Identifier("pg_temp", NAME)
# The columns that a copy leaves to the table: a default, an identity or a NOT NULL would stand in the way.
_OTHER_COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
AND attgenerated = '' AND attnotnull AND attname <> ALL (%s)
"""
_UNIQUE_INDEXES = """
SELECT c.relname, ARRAY(SELECT pg_get_indexdef(indexrelid, k, false) FROM generate_series(1, indnatts) k)::text,
    pg_get_expr(indpred, indrelid), indclass::text, indcollation::text, indisexclusion
FROM pg_index JOIN pg_class c ON c.oid = indexrelid
WHERE indrelid = to_regclass(%s) AND (indisunique OR indisexclusion) ORDER BY c.relname
"""


async def create(connection: AsyncConnection, table: CopyTable) -> dict[str, str]:
    """Make it; returns the names of the target's unique indexes and constraints by the names that they have here."""
    await connection.execute(
        # A default could take a number from the target's sequence, an identity would make a sequence.
        sql.SQL("CREATE TEMP TABLE {} (LIKE {} INCLUDING ALL EXCLUDING DEFAULTS EXCLUDING IDENTITY)").format(
            sql.Identifier(NAME), table.identifier
        )
    )
    for name in await fetch_column(connection, _OTHER_COLUMNS, [_HERE.as_string(None), table.names]):
        await connection.execute(sql.SQL("ALTER TABLE {} ALTER {} DROP NOT NULL").format(_HERE, sql.Identifier(name)))
    for check in await find_unvalidated(connection, named(connection, table.identifier)):
        if check.owned and check.of_table:
            await connection.execute(
                sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}").format(_HERE, sql.Identifier(check.name))
            )
    theirs: defaultdict[tuple[object, ...], list[str]] = defaultdict(list)
    for name, *definition in await _unique_indexes(connection, table.identifier):
        theirs[tuple(definition)].append(name)
    return {
        name: theirs[tuple(definition)].pop(0)
        for name, *definition in await _unique_indexes(connection, _HERE)
        if theirs[tuple(definition)]
    }


async def size(connection: AsyncConnection) -> int:
    """Bytes on disk, with indexes and TOAST."""
    return int(await fetch_value(connection, "SELECT pg_total_relation_size(to_regclass(%s))", [_HERE.as_string(None)]))


async def _unique_indexes(connection: AsyncConnection, table: sql.Identifier) -> list[TupleRow]:
    return await fetch_rows(connection, _UNIQUE_INDEXES, [named(connection, table)])
