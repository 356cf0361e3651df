"""Rows of the target that this source did not bring: nobody's, another source's, or those of another address of it."""

from __future__ import annotations

from psycopg import AsyncConnection, sql

from app.errors import MigrationError
from app.migration.load import statements
from app.migration.tables.copy_table import CopyTable

# Which other sources the rows of the target's table came from (parameters: table, source, table, source).
_BY_OTHERS = """
SELECT r.source, count(DISTINCT (t.tableoid, t.ctid))
FROM {} t JOIN botdata.writes w ON w.xid = t.xmin::text AND w.table_name = %s
JOIN botdata.runs r ON r.id = w.run_id WHERE r.source <> %s AND t.xmin::text NOT IN (SELECT xid FROM botdata.writes
    JOIN botdata.runs ON id = run_id WHERE table_name = %s AND source = %s) GROUP BY 1 ORDER BY 2 DESC, 1
"""


async def refuse_foreign_rows(
    connection: AsyncConnection, source: str, tables: list[CopyTable], *, step: str = "copy"
) -> None:
    """Stop where a table holds rows, or versions of rows, that no copy from this source wrote, as their xmin tells.

    Args:
        source: its label, which is its address for people: one database may have several.

    Raises:
        MigrationError: names the tables and their counts, and where rows came from another source.
    """
    held = []
    others: dict[str, int] = {}
    foreign = 0
    for table in tables:
        cursor = await connection.execute(statements.count_foreign_rows(table), [table.name, source])
        row = await cursor.fetchone()
        assert row is not None
        if row[0]:
            held.append(f"{table.name} ({row[0]})")
            foreign += row[0]
            for label, rows in (await rows_by_others(connection, source, table)).items():
                others[label] = others.get(label, 0) + rows
    if not held:
        return
    message = f"the target holds rows that no copy from {source} wrote: {', '.join(held)}"
    remedy = f"botdata {step} --overwrite, if the source's rows may replace them"
    if others:
        came = "; ".join(f"{rows:,} from {label}" for label, rows in others.items())
        if list(others.values()) == [foreign]:
            came = f"all of them from {next(iter(others))}"
        message += f". These came by another address: {came}. It may be the same database"
        known = sum(others.values()) >= foreign
        lost = (
            "its rows replace their own copies, so nothing is lost" if known else "its rows replace those of the target"
        )
        remedy = (
            f"if it is the same one, botdata {step} --overwrite ({lost}), or botdata {step} by the address of before; "
            "if it is another one, a target of its own"
        )
    raise MigrationError(message, step=step, pending="everything; nothing was written", next_command=remedy)


async def rows_by_others(connection: AsyncConnection, source: str, table: CopyTable) -> dict[str, int]:
    """How many rows of the target's table came from each of the other sources, the most first."""
    query = sql.SQL(_BY_OTHERS).format(table.rows)
    cursor = await connection.execute(query, [table.name, source, table.name, source])
    return dict(await cursor.fetchall())
