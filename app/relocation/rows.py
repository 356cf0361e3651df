"""The rows of a table as COPY's text, out of a database and into one, and where sequences stand."""

from collections.abc import Callable, Collection, Iterable, Sequence
from hashlib import sha256

from psycopg import AsyncConnection, sql

from app.common.schemas import schemas_of
from app.relocation.archive import SequenceState, TableRows
from app.state.fetching import fetch_column, fetch_row, fetch_rows

_COLUMNS = """
SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
AND a.attgenerated = '' GROUP BY c.relname ORDER BY c.relname
"""
# Texts go by their bytes: two servers may sort a language otherwise.
_ORDER = """
SELECT a.attname, a.attcollation <> 0 FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid AND c.relnamespace = %(schema)s::regnamespace AND c.relname = %(table)s
JOIN unnest(i.indkey) WITH ORDINALITY AS k (attnum, position) ON true
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indisprimary ORDER BY k.position
"""
_SEQUENCES = """
SELECT c.relname FROM pg_class c WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind = 'S' ORDER BY c.relname
"""


def schema_name(connection: AsyncConnection, of: str) -> str:
    """The schema that "data" or "tool" stands for."""
    schemas = schemas_of(connection)
    return schemas.data if of == "data" else schemas.tool


async def tables_of(connection: AsyncConnection, schema: str) -> dict[str, tuple[str, ...]]:
    """The ordinary tables of a schema, with the columns that can be written, but for Alembic's own."""
    rows = await fetch_rows(connection, _COLUMNS, {"schema": schema})
    return {name: tuple(columns) for name, columns in rows if name != "alembic_version"}


async def hold_shape(connection: AsyncConnection, tables: Iterable[str]) -> None:
    """Let nobody alter these tables of the salon until the caller's transaction ends; as its first statement."""
    schema = schema_name(connection, "data")
    names = sql.SQL(", ").join(sql.Identifier(schema, name) for name in tables)
    await connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))


async def copy_out(connection: AsyncConnection, table: TableRows, take: Callable[[bytes], object]) -> None:
    """Give every row of a table, in the order of its key, as COPY's text."""
    schema = schema_name(connection, table.of)
    key = await fetch_rows(connection, _ORDER, {"schema": schema, "table": table.name})
    order: list[sql.Composable] = [
        sql.SQL('t.{} COLLATE "C"' if text else "t.{}").format(sql.Identifier(name)) for name, text in key
    ]
    query = sql.SQL("COPY (SELECT {} FROM {} t ORDER BY {}) TO STDOUT").format(
        sql.SQL(", ").join(sql.Identifier("t", name) for name in table.columns),
        sql.Identifier(schema, table.name),
        sql.SQL(", ").join(order or [sql.SQL('t::text COLLATE "C"')]),
    )
    async with connection.cursor().copy(query) as copy:
        async for block in copy:
            take(bytes(block))


async def copy_in(
    connection: AsyncConnection, table: TableRows, blocks: Iterable[bytes], tell: Callable[[int], object]
) -> None:
    """Fill a table with these rows alone; identity columns take the values that are given (PostgreSQL, "COPY")."""
    relation = sql.Identifier(schema_name(connection, table.of), table.name)
    await connection.execute(sql.SQL("DELETE FROM {}").format(relation))  # what its making put there
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    async with connection.cursor().copy(sql.SQL("COPY {} ({}) FROM STDIN").format(relation, columns)) as copy:
        for block in blocks:
            await copy.write(block)
            tell(block.count(b"\n"))


async def differing(connection: AsyncConnection, tables: Sequence[TableRows]) -> list[str]:
    """The tables whose rows, read back, are not the archive's, byte for byte."""
    wrong = []
    for table in tables:
        total = sha256()
        await copy_out(connection, table, total.update)
        if total.hexdigest() != table.sha256:
            wrong.append(table.name)
    return wrong


async def read_sequences(
    connection: AsyncConnection, of: str, names: Collection[str] | None = None
) -> list[SequenceState]:
    """Where the sequences of a schema stand; a transaction that is rolled back gives no number back.

    Args:
        names: those alone.
    """
    schema, found = schema_name(connection, of), []
    for name in await fetch_column(connection, _SEQUENCES, {"schema": schema}):
        if names is None or name in names:
            query = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(schema, name))
            found.append(SequenceState(of, name, *await fetch_row(connection, query)))
    return found


async def set_sequence(connection: AsyncConnection, state: SequenceState) -> None:
    """Let a sequence go on from where it stood."""
    name = sql.Identifier(schema_name(connection, state.of), state.name).as_string(connection)
    given = {"name": name, "value": state.last_value, "called": state.is_called}
    await connection.execute("SELECT setval(%(name)s::regclass, %(value)s, %(called)s)", given)
