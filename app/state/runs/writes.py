"""Writes: the transactions that wrote rows of a table, so that the xmin of a row tells whose it is."""

from collections.abc import Iterable, Sequence

from psycopg import AsyncConnection, sql

from app.state.fetching import fetch_rows, fetch_value
from app.state.schema_name import SCHEMA

_WRITES = sql.Identifier(SCHEMA, "writes")
# The transactions of a source's runs that wrote rows of a table.
_OF_SOURCE = sql.SQL(
    "(SELECT xid FROM {} JOIN {} ON id = run_id WHERE table_name = ANY (%(tables)s) AND source = %(source)s)"
).format(_WRITES, sql.Identifier(SCHEMA, "runs"))


async def record_writes(connection: AsyncConnection, run: int, table: str, transactions: Iterable[str]) -> None:
    """Remember the transactions that wrote rows of a table: those rows are ours."""
    await connection.execute(
        f"INSERT INTO {SCHEMA}.writes SELECT %(run)s, %(table)s, unnest(%(transactions)s::text[]) "
        "ON CONFLICT DO NOTHING",
        {"run": run, "table": table, "transactions": list(transactions)},
    )


async def note_brought(connection: AsyncConnection, run: int, tables: Sequence[str]) -> None:
    """Remember that tables were brought over from a run's source; once, though there may have been no row to write."""
    await connection.execute(
        f"INSERT INTO {SCHEMA}.writes SELECT own.id, name, pg_current_xact_id()::xid::text "
        f"FROM {SCHEMA}.runs own, unnest(%(tables)s::text[]) name WHERE own.id = %(run)s AND NOT EXISTS ("
        f"SELECT FROM {SCHEMA}.writes JOIN {SCHEMA}.runs r ON r.id = run_id "
        "WHERE table_name = name AND r.source = own.source)",
        {"run": run, "tables": list(tables)},
    )


async def adopt_rows(connection: AsyncConnection, run: int, table: str, rows: sql.Composable) -> None:
    """Take every row of the table for ours from now on, those too that were there before and that were overwritten.

    Args:
        rows: what stands after FROM for the rows of the target's table; so too in the functions below.
    """
    statement = sql.SQL(
        "INSERT INTO {} SELECT DISTINCT %(run)s::bigint, %(table)s::text, t.xmin::text FROM {} t ON CONFLICT DO NOTHING"
    )
    await connection.execute(statement.format(_WRITES, rows), {"run": run, "table": table})


async def count_foreign_rows(
    connection: AsyncConnection, source: str, tables: Sequence[str], rows: sql.Composable
) -> int:
    """Rows of the target that no run from a source wrote.

    Args:
        tables: the names by which they may have been written: the table's, and those of its partitions.
    """
    statement = sql.SQL("SELECT count(*) FROM {} t WHERE t.xmin::text NOT IN {}").format(rows, _OF_SOURCE)
    return int(await fetch_value(connection, statement, {"tables": list(tables), "source": source}))


async def rows_by_others(
    connection: AsyncConnection, source: str, tables: Sequence[str], rows: sql.Composable
) -> dict[str, int]:
    """How many rows of the target's table came from each of the other sources, the most first; `tables` as above."""
    statement = sql.SQL(
        "SELECT r.source, count(DISTINCT (t.tableoid, t.ctid)) "
        "FROM {rows} t JOIN {writes} w ON w.xid = t.xmin::text AND w.table_name = ANY (%(tables)s) "
        "JOIN {runs} r ON r.id = w.run_id WHERE r.source <> %(source)s AND t.xmin::text NOT IN {of_source} "
        "GROUP BY 1 ORDER BY 2 DESC, 1"
    ).format(rows=rows, writes=_WRITES, runs=sql.Identifier(SCHEMA, "runs"), of_source=_OF_SOURCE)
    return dict(await fetch_rows(connection, statement, {"tables": list(tables), "source": source}))


async def take_later_rows(
    connection: AsyncConnection,
    run: int,
    table: str,
    *,
    rows: sql.Composable,
    staging: sql.Composable,
    same: sql.Composable,
    number: sql.Composable,
) -> set[int]:
    """Take out the rows whose key the target holds in a row that neither this run nor an earlier one wrote.

    Args:
        staging: the temporary table with the rows that wait.
        same: the target's row `t` has the key of the waiting row `s`.
        number: the column that numbers the waiting rows.

    Returns:
        Their numbers.
    """
    statement = sql.SQL(
        "DELETE FROM {staging} s USING {rows} t WHERE {same} AND NOT EXISTS (SELECT FROM {writes} w "
        "WHERE w.table_name = %(table)s AND w.run_id <= %(run)s AND w.xid = t.xmin::text) RETURNING s.{number}"
    ).format(staging=staging, rows=rows, same=same, writes=_WRITES, number=number)
    return {row[0] for row in await fetch_rows(connection, statement, {"table": table, "run": run})}


def ours(table: str) -> sql.Composed:
    """A query for the transactions of all runs that wrote rows of a table, to be joined with the table's rows."""
    return sql.SQL("(SELECT xid FROM {} WHERE table_name = {})").format(_WRITES, sql.Literal(table))
