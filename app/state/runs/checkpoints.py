"""Checkpoints: how far each table is in a run, what happened to its rows, and the key ranges of a large one."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.state.fetching import fetch_column, fetch_rows, fetch_value
from app.state.runs import quarantine
from app.state.schema_name import SCHEMA

_UNCOUNTED = -1  # rows of the source, in a checkpoint whose table could not be counted


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a table is in a run.

    Attributes:
        source_before: rows of the source then; None where it could not count them.
        was_empty: the target held no row of it when the run came to it.
    """

    last_key: Key | None
    source_before: int | None
    inserted: int
    updated: int
    unchanged: int
    complete: bool
    was_empty: bool = False

    @property
    def rows(self) -> int:
        """Rows loaded so far."""
        return self.inserted + self.updated + self.unchanged


async def find_checkpoint(connection: AsyncConnection, run: int, table: str) -> Checkpoint | None:
    """The table's checkpoint in the run, if it has one."""
    rows = await fetch_rows(
        connection,
        "SELECT last_key, nullif(source_before, %(uncounted)s), inserted, updated, unchanged, state = 'complete', "
        f"was_empty FROM {SCHEMA}.checkpoints WHERE run_id = %(run)s AND table_name = %(table)s",
        {"uncounted": _UNCOUNTED, "run": run, "table": table},
    )
    return next((Checkpoint(tuple(key) if key else None, *rest) for key, *rest in rows), None)


async def forget_table(connection: AsyncConnection, run: int, table: str) -> None:
    """Drop the table's checkpoint in the run, and its ranges: it is to be read from its beginning."""
    await connection.execute(
        f"WITH r AS (DELETE FROM {SCHEMA}.ranges WHERE run_id = %(run)s AND table_name = %(table)s) "
        f"DELETE FROM {SCHEMA}.checkpoints WHERE run_id = %(run)s AND table_name = %(table)s",
        {"run": run, "table": table},
    )


async def begin_table(
    connection: AsyncConnection, run: int, table: str, rows: sql.Composable, source_before: int | None
) -> Checkpoint:
    """Make the table's checkpoint; its rows in quarantine are all asked for again, so they leave it.

    Args:
        rows: what stands after FROM for the rows of the target's table.
        source_before: rows of the source; None where it could not count them.
    """
    statement = sql.SQL(
        "INSERT INTO {checkpoints} (run_id, table_name, source_before, was_empty) "
        "VALUES (%(run)s, %(table)s, %(source_before)s, NOT EXISTS (SELECT FROM {rows})) RETURNING was_empty"
    ).format(checkpoints=sql.Identifier(SCHEMA, "checkpoints"), rows=rows)
    async with connection.transaction():
        await quarantine.leave_whole(connection, table)
        counted = _UNCOUNTED if source_before is None else source_before
        was_empty = await fetch_value(connection, statement, {"run": run, "table": table, "source_before": counted})
    return Checkpoint(None, source_before, 0, 0, 0, complete=False, was_empty=was_empty)


async def add_to_checkpoint(
    connection: AsyncConnection,
    run: int,
    table: str,
    *,
    inserted: int,
    updated: int,
    unchanged: int,
    last_key: Key | None = None,
) -> None:
    """Count what a page or a range did, in the transaction that loaded it; the table is done up to the last key."""
    await connection.execute(
        f"UPDATE {SCHEMA}.checkpoints SET last_key = coalesce(%(last_key)s, last_key), "
        "inserted = inserted + %(inserted)s, updated = updated + %(updated)s, unchanged = unchanged + %(unchanged)s, "
        "pages = pages + 1, changed_at = now() WHERE run_id = %(run)s AND table_name = %(table)s",
        {
            "last_key": list(last_key) if last_key else None,
            "inserted": inserted,
            "updated": updated,
            "unchanged": unchanged,
            "run": run,
            "table": table,
        },
    )


async def add_replayed(
    connection: AsyncConnection, run: int, table: str, *, inserted: int, updated: int, unchanged: int
) -> None:
    """Count rows that were loaded from quarantine; the table is not further for them."""
    await connection.execute(
        f"UPDATE {SCHEMA}.checkpoints SET inserted = inserted + %(inserted)s, updated = updated + %(updated)s, "
        "unchanged = unchanged + %(unchanged)s WHERE run_id = %(run)s AND table_name = %(table)s",
        {"inserted": inserted, "updated": updated, "unchanged": unchanged, "run": run, "table": table},
    )


async def resume_table(connection: AsyncConnection, run: int, table: str) -> None:
    """Note that another start comes to the table now, so that its rate leaves the pause out."""
    await connection.execute(
        f"UPDATE {SCHEMA}.checkpoints SET begun_at = now(), rows_before = inserted + updated + unchanged "
        "WHERE run_id = %(run)s AND table_name = %(table)s",
        {"run": run, "table": table},
    )


async def finish_table(connection: AsyncConnection, run: int, table: str) -> None:
    """Mark the table complete in the run."""
    await connection.execute(
        f"UPDATE {SCHEMA}.checkpoints SET state = 'complete', changed_at = now() "
        "WHERE run_id = %(run)s AND table_name = %(table)s",
        {"run": run, "table": table},
    )


async def describe_done(connection: AsyncConnection, run: int) -> str | None:
    """What a run has loaded so far, in words."""
    rows = await fetch_rows(
        connection,
        f"SELECT table_name, inserted + updated + unchanged FROM {SCHEMA}.checkpoints "
        "WHERE run_id = %(run)s AND inserted + updated + unchanged > 0 ORDER BY begun_at, table_name",
        {"run": run},
    )
    return ", ".join(f"{count:,} rows of {table}" for table, count in rows) or None


async def newest_run(connection: AsyncConnection) -> int | None:
    """The newest run that has come to a table."""
    run: int | None = await fetch_value(connection, f"SELECT max(run_id) FROM {SCHEMA}.checkpoints")
    return run


async def tables_of(connection: AsyncConnection, run: int) -> list[tuple[Any, ...]]:
    """The tables of a run, in the order in which it came to them.

    Returns:
        Of each: its name, "copying" or "complete", rows loaded, rows of the source (0 where it could not count them),
        rows in quarantine, and rows a second of the last start (None where no time has passed).
    """
    return await fetch_rows(
        connection,
        "SELECT table_name, state, inserted + updated + unchanged, greatest(source_before, 0), "
        f"(SELECT count(*) FROM {SCHEMA}.quarantine q WHERE q.table_name = c.table_name AND q.run_id = c.run_id), "
        "((inserted + updated + unchanged - rows_before) / "
        "nullif(extract(epoch FROM changed_at - begun_at), 0))::double precision "
        f"FROM {SCHEMA}.checkpoints c WHERE run_id = %(run)s ORDER BY begun_at, table_name",
        {"run": run},
    )


async def tables_copied(connection: AsyncConnection) -> set[str]:
    """The tables that any run has copied to their end."""
    statement = f"SELECT table_name FROM {SCHEMA}.checkpoints WHERE state = 'complete'"
    return set(await fetch_column(connection, statement))


async def keep_ranges(
    connection: AsyncConnection, run: int, table: str, ranges: Iterable[tuple[int, Key | None, Key | None]]
) -> None:
    """Write a table's ranges down, in the caller's transaction.

    Args:
        ranges: of each its number, and the keys that it lies above and up to; None: no bound.
    """
    for number, low, high in ranges:
        await connection.execute(
            f"INSERT INTO {SCHEMA}.ranges (run_id, table_name, number, low, high) "
            "VALUES (%(run)s, %(table)s, %(number)s, %(low)s, %(high)s)",
            {
                "run": run,
                "table": table,
                "number": number,
                "low": list(low) if low else None,
                "high": list(high) if high else None,
            },
        )


async def open_ranges(connection: AsyncConnection, run: int, table: str) -> list[tuple[int, Key | None, Key | None]]:
    """The table's ranges that are not complete, as `keep_ranges` takes them."""
    rows = await fetch_rows(
        connection,
        f"SELECT number, low, high FROM {SCHEMA}.ranges WHERE run_id = %(run)s AND table_name = %(table)s "
        "AND NOT complete ORDER BY number",
        {"run": run, "table": table},
    )
    return [(number, tuple(low) if low else None, tuple(high) if high else None) for number, low, high in rows]


async def finish_range(connection: AsyncConnection, run: int, table: str, number: int, rows: int) -> None:
    """Mark a range complete, in the transaction that loaded it."""
    await connection.execute(
        f"UPDATE {SCHEMA}.ranges SET complete = true, rows = %(rows)s "
        "WHERE run_id = %(run)s AND table_name = %(table)s AND number = %(number)s",
        {"rows": rows, "run": run, "table": table, "number": number},
    )
