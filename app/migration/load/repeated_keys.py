"""Rows of one key among those to be loaded: the first goes in, and a later one that differs is refused."""

from psycopg import AsyncConnection, sql

from app.migration.load.bisection import Fault, number_column
from app.migration.tables.copy_table import CopyTable
from app.state.fetching import fetch_column, fetch_rows

# The SQLSTATE that PostgreSQL itself has for the same key twice in one statement.
REPEATED = "21000"
_MESSAGE = "the source has several rows of this key that differ"


async def take_repeated(connection: AsyncConnection, table: CopyTable, staging: str) -> tuple[Fault, ...]:
    """Take the later rows of a key out of a temporary table; gives those that differ from its first row.

    Their numbers are negative in it until they are put back, so that they are not loaded. A row that is the same in
    every column is nothing that could be lost.
    """
    number = sql.Identifier(number_column(table))
    key = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.key)
    names = {"staging": sql.Identifier("pg_temp", staging), "number": number, "key": key}
    repeated = sql.SQL("SELECT min({number}) FROM {staging} GROUP BY {key} HAVING count(*) > 1").format(**names)
    first = await fetch_column(connection, repeated)
    if not first:
        return ()
    same = sql.SQL(" AND ").join(sql.SQL("s.{0} = f.{0}").format(sql.Identifier(column.name)) for column in table.key)
    differs = sql.SQL(" OR ").join(
        sql.SQL("s.{0}::text IS DISTINCT FROM f.{0}::text").format(sql.Identifier(name)) for name in table.names
    )
    taken = await fetch_rows(
        connection,
        sql.SQL(
            "UPDATE {staging} s SET {number} = -s.{number} FROM {staging} f WHERE f.{number} = ANY (%s) "
            "AND {same} AND s.{number} > f.{number} RETURNING -s.{number}, {differs}"
        ).format(same=same, differs=differs, **names),
        [first],
    )
    return tuple(Fault(position, REPEATED, _MESSAGE, None) for position, is_other in sorted(taken) if is_other)


async def put_back(connection: AsyncConnection, table: CopyTable, staging: str, faults: tuple[Fault, ...]) -> None:
    """Give such rows their numbers again, after the others are loaded."""
    await connection.execute(
        sql.SQL("UPDATE {0} SET {1} = -{1} WHERE {1} = ANY (%s)").format(
            sql.Identifier("pg_temp", staging), sql.Identifier(number_column(table))
        ),
        [[-fault.number for fault in faults]],
    )
